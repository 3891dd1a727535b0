"""What the expressions of a source say as texts, as far as they can be read without running it.

Read are constants (imported ones too), attributes of the class, names that the same function gives to a text, texts put
together of these, and the members of enumerations, which give their names.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.house.sources import Function, Source, imported


@dataclass(frozen=True, slots=True)
class Call:
    """A call, where it stands, and what names mean there. inside: the function around it, None at the top."""

    source: Source
    node: ast.Call
    names: Mapping[str, str]
    inside: Function | None

    @property
    def name(self) -> str:
        """The last part of what is called."""
        return name_of(self.node.func).rpartition(".")[2]

    def text(self, position: int, keyword: str) -> str | None:
        """What one argument says; None where it is absent or cannot be read."""
        given = [one.value for one in self.node.keywords if one.arg == keyword]
        given += self.node.args[position : position + 1]
        return text_of(given[0], self.names) if given else None


def read_calls(sources: Sequence[Source]) -> list[Call]:
    own = {source.module: assigned(source.tree.body, {}) for source in sources}
    found: list[Call] = []
    for source in sources:
        brought = {name: own[module][name] for module, name in imported(source) if name in own.get(module, {})}
        found += calls(source, source.tree, brought | assigned(source.tree.body, brought), None)
    return found


def calls(source: Source, tree: ast.AST, names: Mapping[str, str], inside: Function | None) -> Iterator[Call]:
    for node in ast.iter_child_nodes(tree):
        known, around = names, inside
        if isinstance(node, ast.ClassDef):
            known = {**names, **{f"self.{name}": text for name, text in assigned(node.body, names).items()}}
        elif isinstance(node, Function):
            known = {**names, **assigned([one for one in ast.walk(node) if isinstance(one, ast.stmt)], names)}
            around = node
        elif isinstance(node, ast.Call):
            yield Call(source, node, known, inside)
        yield from calls(source, node, known, around)


def assigned(statements: Sequence[ast.stmt], names: Mapping[str, str]) -> dict[str, str]:
    """What plain assignments of texts give names to."""
    found: dict[str, str] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and (text := text_of(value, {**names, **found})) is not None:
            found[target.id] = text
    return found


def text_of(node: ast.expr, names: Mapping[str, str]) -> str | None:
    """The text that an expression gives, as far as the source tells; a member of an enumeration gives its name."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return joined([part.value if isinstance(part, ast.FormattedValue) else part for part in node.values], names)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return joined([node.left, node.right], names)
    path = name_of(node)
    if path in names:
        return names[path]
    is_member = isinstance(node, ast.Attribute) and node.attr.isupper()
    return path.rpartition(".")[2].lower() if is_member else None


def joined(parts: Sequence[ast.expr], names: Mapping[str, str]) -> str | None:
    """Of a text that is put together the end decides: a beginning that cannot be read becomes a star."""
    texts = [text_of(part, names) for part in parts]
    return None if not texts or texts[-1] is None else "".join(text or "*" for text in texts)


def name_of(node: ast.expr) -> str:
    """`a.b.c` for such a chain, empty for all else."""
    if isinstance(node, ast.Name):
        return node.id
    inner = name_of(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if isinstance(node, ast.Attribute) and inner else ""
