"""Gemma 3: calls in Python's words, in a block of code. Its templates say nothing of tools, so it has to be set.

```tool_code
weather(city="Oslo", days=2)
```
"""

import ast
import keyword
import warnings
from collections.abc import Iterator

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.families.family import Family, Form, read_marked
from beamhouse.server.conversation.lark import Rules
from beamhouse.server.conversation.notations import Notation, refused
from beamhouse.server.conversation.source import Malformed, Reading, Source, Waiting
from beamhouse.server.conversation.tools import Calls, Tool

BEGIN, END = "```tool_code", "```"


def read(source: Source, calls: Calls) -> Reading[None]:
    def read_call(source: Source, marker: str) -> Reading[None]:
        program = yield from _program(source)
        for tool, arguments in [_read_call(node, calls) for node in _called(program)]:
            yield from json_reading.told(source, calls, tool.name, json_reading.iter_text(arguments))

    yield from read_marked(source, [BEGIN], read_call)


def _program(source: Source) -> Waiting[ast.Module]:
    """The code up to the end of its block; a string in it may hold what ends blocks. Raises Malformed."""
    code, program = "", None
    while program is None:
        more, end = yield from source.until([END])
        source.spend(len(code))
        program = _parsed(code + more)
        code += more + end
    return program


def _parsed(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _called(node: ast.AST) -> Iterator[ast.Call]:
    """The calls of a program that is nothing else: alone, printed, kept in a name, or in a list. Raises Malformed."""
    match node:
        case ast.Expr(value=inner) | ast.Assign(value=inner):
            yield from _called(inner)
        case ast.Module(body=[_, *_] as nodes) | ast.List(elts=[_, *_] as nodes):
            for one in nodes:
                yield from _called(one)
        case ast.Call(func=ast.Name(id="print"), args=[inner], keywords=[]):
            yield from _called(inner)
        case ast.Call():
            yield node
        case _:
            raise Malformed


def _read_call(node: ast.Call, calls: Calls) -> tuple[Tool, str]:
    """The tool and the arguments as JSON; those without a name are the parameters in their order. Raises Malformed."""
    tool = calls.known(_name(node.func))
    names = list(tool.schemas)
    if len(node.args) > len(names) or any(one.arg is None for one in node.keywords):
        raise Malformed
    nodes = dict(zip(names, node.args, strict=False)) | {str(one.arg): one.value for one in node.keywords}
    try:
        return tool, json_reading.in_json({name: ast.literal_eval(value) for name, value in nodes.items()})
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise Malformed from error


def _name(node: ast.expr) -> str:
    """A name with the dots in it. Raises Malformed."""
    parts = list[str]()
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise Malformed
    return ".".join([node.id, *reversed(parts)])


NOTATION = Notation(None, ('"', '": '), ("", "="), ", ", ("True", "False", "None"))


def write_arguments(rules: Rules, tool: Tool) -> str:
    """The arguments by their names. Raises InvalidRequest for names that Python has no way to write."""
    names = [name for name in (tool.name, *tool.schemas) if not name.isidentifier() or keyword.iskeyword(name)]
    if names:
        raise refused(tool, "parameters", f"{names[0]!r} is no name in Python, in which this model writes calls")
    return NOTATION.arguments(rules, tool)


FORM = Form(
    "", "(", ")", opening=f"{BEGIN}\n", separator="\n", closing=f"\n{END}", trigger=BEGIN,
    arguments=write_arguments,
)  # fmt: skip
TOOL_CODE = Family("tool_code", (BEGIN,), (BEGIN,), read, FORM)
