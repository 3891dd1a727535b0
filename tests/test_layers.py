"""The rooms keep apart: who may import whom, where imports stand, and what nobody imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The rooms of each folder from the ground up: a module imports from its own room and from those before it.
ROOMS: dict[str, tuple[str, ...]] = {
    "config": ("sources", "tgi_variables", "settings"),
    "schemas": (
        "words",
        "problems",
        "model_info",
        "pydantic_problems",
        "generation",
        "beamhouse",
        "judge",
        "anthropic",
        "transformers",
        "openai",
        "tgi",
    ),
    "client": ("shapes", "errors", "wire", "calls", "client", "async_client"),
    "engine": (
        "builtin",
        "link",
        "watermark",
        "text",
        "state",
        "attention",
        "native",
        "logits",
        "runners",
        "decoding",
        "loading",
        "loop",
        "build",
        "process",
        "__main__",
    ),
    "server": (
        "version",
        "admission",
        "metric_aliases",
        "metrics",
        "conversation",
        "service",
        "edge",
        "asking",
        "answering",
        "doors",
        "app",
        "command",
        "__main__",
    ),
}
# What each folder may import beside itself, of ours and of others; None: any that is a declared dependency.
MAY_IMPORT: dict[str, tuple[set[str], set[str] | None]] = {
    "config": (set(), {"pydantic", "pydantic_settings"}),
    "schemas": (set(), {"pydantic", "pydantic_core", "msgspec", "huggingface_hub"}),
    "client": (set(), {"httpx"}),
    "engine": ({"config", "schemas"}, None),
    "server": ({"config", "schemas", "engine", "client"}, None),
}
WEB = {"fastapi", "starlette", "sse_starlette", "uvicorn", "httpx", "prometheus_client"}
COMPUTING = {"torch", "transformers"}
# All that the HTTP process imports of the engine, and so without anything that computes.
FOR_THE_SERVER = (
    "engine.link.",
    "engine.text.",
    "engine.watermark.",
    "engine.native.compiler",
    "engine.native.library",
    "engine.native.mirrored",
    "engine.native.threads",
    "engine.loading.files",
)
# Where a process begins: these import some of their own rooms late, since the time imports take is what they are about.
ENTRIES = {"server.command.cli", "server.command.asking", "engine.__main__"}
OPTIONAL = {"llguidance", "matplotlib"}
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[str]:
    """Each imported module, ours without the package that holds them all; of `from a import b` also `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("beamhouse.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            module = (node.module or "").removeprefix("beamhouse.")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names if module.split(".")[0] in ROOMS)


def imported_by(path: Path) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8"), str(path))))


def tops(*folders: str) -> set[str]:
    return {name.split(".")[0] for path in modules(*folders) for name in imported_by(path)}


def third_party(*folders: str) -> set[str]:
    return tops(*folders) - set(sys.stdlib_module_names) - set(ROOMS)


def room_of(module: str) -> int | None:
    """The place of `folder.room…` among the rooms of its folder; None outside of them."""
    folder, _, rest = module.partition(".")
    room = rest.split(".")[0]
    return ROOMS[folder].index(room) if room in ROOMS.get(folder, ()) else None


@pytest.mark.parametrize("folder", ROOMS)
def test_a_folder_imports_what_it_may(folder: str):
    own, other = MAY_IMPORT[folder]
    assert tops(folder) & set(ROOMS) <= own | {folder}
    assert other is None or third_party(folder) <= other


@pytest.mark.parametrize("path", [path for folder in ROOMS for path in modules(folder)], ids=dotted)
def test_imports_go_to_the_own_room_and_those_before_it(path: Path):
    name = dotted(path)
    if "." in name and ROOMS[name.split(".")[0]]:
        own = room_of(name)
        assert own is not None, "a new room: give it a place in ROOMS"
        used = {other: room_of(other) for other in imported_by(path) if other.split(".")[0] == name.split(".")[0]}
        assert {other: room for other, room in used.items() if room is not None and room > own} == {}


def test_the_engine_knows_neither_the_web_nor_a_protocol():
    assert not tops("engine") & WEB
    assert [name for path in modules("engine") for name in imported_by(path) if "schemas.beamhouse" in name] == []


def test_what_the_server_imports_computes_nothing():
    ahead, reached = [name for path in modules("server") for name in imported_by(path)], set[str]()
    ahead += [dotted(path) for path in modules("engine") if dotted(path).startswith(FOR_THE_SERVER)]
    while ahead:
        name = ahead.pop()
        assert name.split(".")[0] not in COMPUTING, f"one of {sorted(reached)} imports {name}"
        path = ROOT / f"{name.replace('.', '/')}.py"
        if name.startswith("engine.") and path.exists() and name not in reached:
            assert name.startswith(FOR_THE_SERVER), f"the server imports {name}"
            reached.add(name)
            ahead += imported_by(path)
    assert "engine.link.client" in reached


@pytest.mark.parametrize("path", modules(*ROOMS), ids=dotted)
def test_imports_stand_at_the_top(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {name.split(".")[0] for function in functions for name in imports(function)}
    inside -= {dotted(path).split(".")[0]} if dotted(path) in ENTRIES else set()
    assert inside <= OPTIONAL | ({"huggingface_hub"} if path.is_relative_to(ROOT / "schemas") else set())
    assert "TYPE_CHECKING" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", modules(*ROOMS, "training", "benchmarks"), ids=dotted)
def test_nothing_runs_code_from_data(path: Path):
    assert not {name.split(".")[0] for name in imported_by(path)} & UNSAFE
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    called = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    assert not called & {"eval", "exec", "compile", "__import__"}
    loads = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "torch.load"]
    assert [load for load in loads if "weights_only=True" not in load] == []


@pytest.mark.parametrize("path", modules(*ROOMS, "training", "benchmarks", "tests"), ids=dotted)
def test_the_rooms_are_imported_as_one_package(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in named if name.split(".")[0] in ROOMS] == []


@pytest.mark.parametrize("path", modules("tests"), ids=dotted)
def test_what_tests_share_lies_in_no_test_module(path: Path):
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    named = [f"{node.module}.{alias.name}" for node in nodes for alias in node.names]
    assert [name for name in named if re.match(r"tests\..*\btest_", name)] == []


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in ("grammar", "bench") for line in project["optional-dependencies"][extra]]
    declared = [*project["dependencies"], *extras]
    names = {re.split(r"[<>=!;\[ ]", line)[0].lower().replace("-", "_") for line in declared}
    used = {"pydantic" if name == "pydantic_core" else name for name in third_party(*ROOMS)}
    assert used <= names, "imported, but not in pyproject.toml"
    # uvicorn takes uvloop by name; transformers the other two, where it converts a SentencePiece model.
    assert names - used <= {"uvloop", "sentencepiece", "protobuf"}, "in pyproject.toml, but never imported"
