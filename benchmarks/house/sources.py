"""The product's Python files as they stand on disk, and what can be read off each of them alone."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

FOLDERS = ("config", "schemas", "client", "engine", "server", "training")
"""Where the product lives. Those that a checkout does not have are left out."""

PACKAGE = "beamhouse."
"""Under which the folders are installed; checkouts from before that import them without it."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """One file. path: from the root of the checkout. module: its dotted name, without that of the package."""

    path: str
    module: str
    text: str
    tree: ast.Module

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0]

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@dataclass(frozen=True, slots=True)
class Extent:
    """How long something is, in lines."""

    num_lines: int
    what: str


def read_sources(root: Path) -> list[Source]:
    """In the order of their paths; a link to a folder is not followed, so that no file counts twice."""
    return [read_source(root, path) for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]


def read_source(root: Path, path: Path) -> Source:
    inside, text = path.relative_to(root), path.read_text(encoding="utf-8")
    module = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
    return Source(inside.as_posix(), module, text, ast.parse(text, str(path)))


def loose_files(sources: Sequence[Source], folder: str) -> list[str]:
    """The files right in a folder; a package's first file and its command do not count."""
    names = [source.path.removeprefix(f"{folder}/") for source in sources if source.folder == folder]
    return [name for name in names if "/" not in name and not name.startswith("__")]


def num_lines(sources: Sequence[Source], folder: str) -> int:
    """Lines that are not blank."""
    return sum(1 for source in sources if source.folder == folder for line in source.lines if line.strip())


def longest_file(sources: Sequence[Source]) -> Extent:
    return max((Extent(len(source.lines), source.path) for source in sources), key=lambda found: found.num_lines)


def longest_function(sources: Sequence[Source]) -> Extent:
    """From `def` to its last line."""
    found = [
        Extent((function.end_lineno or function.lineno) - function.lineno + 1, f"{source.path}:{function.name}")
        for source in sources
        for function in functions(source.tree)
    ]
    return max(found, key=lambda extent: extent.num_lines)


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def imported(source: Source) -> Iterator[tuple[str, str]]:
    """Of each imported name the module and the name, empty where the whole module is meant."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.removeprefix(PACKAGE), "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}.".removeprefix(PACKAGE).removesuffix(".")
            yield from ((module, alias.name) for alias in node.names)


def declared(sources: Sequence[Source], *classes: str) -> set[str]:
    """The fields that classes of these names declare."""
    bodies = [node.body for source in sources for node in ast.walk(source.tree) if is_class(node, classes)]
    fields = [line.target for body in bodies for line in body if isinstance(line, ast.AnnAssign)]
    return {field.id for field in fields if isinstance(field, ast.Name)}


def is_class(node: ast.AST, names: Sequence[str]) -> TypeGuard[ast.ClassDef]:
    return isinstance(node, ast.ClassDef) and node.name in names
