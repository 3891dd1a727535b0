"""Where a reader of a resolved configuration gives a field one more default.

Found are `config.field or value` and `config.field if config.field is not None else value`, for each field of a
generation, whatever the object is called that it is read from, but for `asked` and `own`: what a request said
before it was resolved. `or` between two questions, where the last operand is no value, is left out.
"""

import ast
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from benchmarks.house.sources import Source

ASKED = ("asked", "own")


def default_sites(sources: Sequence[Source], fields: AbstractSet[str], folders: Sequence[str]) -> list[str]:
    """The places, as path, line and expression. fields: of a generation."""
    return [
        f"{source.path}:{node.lineno} {ast.unparse(node)}"
        for source in sources
        if source.folder in folders
        for node in ast.walk(source.tree)
        if isinstance(node, ast.BoolOp | ast.IfExp) and gives_default(node, fields)
    ]


def gives_default(node: ast.BoolOp | ast.IfExp, fields: AbstractSet[str]) -> bool:
    if isinstance(node, ast.BoolOp):
        first = any(is_field(value, fields) for value in node.values[:-1])
        return isinstance(node.op, ast.Or) and first and is_value(node.values[-1])
    tested = node.test
    if isinstance(tested, ast.Compare) and isinstance(tested.ops[0], ast.Is | ast.IsNot):
        tested = tested.left
    read = ast.unparse(tested)
    return is_field(tested, fields) and read in (ast.unparse(node.body), ast.unparse(node.orelse))


def is_field(node: ast.expr, fields: AbstractSet[str]) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in fields and ast.unparse(node.value) not in ASKED


def is_value(node: ast.expr) -> bool:
    """Something written out, or a constant of the module."""
    if isinstance(node, ast.Name):
        return node.id.lstrip("_").isupper()
    return isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Set | ast.UnaryOp)
