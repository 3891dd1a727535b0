"""The rooms keep apart: who may import whom, where imports stand, and what nobody imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("config", "schemas", "engine", "server")
WEB = {"fastapi", "starlette", "uvicorn", "httpx", "prometheus_client"}
OPTIONAL = {"llguidance"}
PROTOCOLS = {
    f"schemas.{name}" for name in ("native", "answers", "scores", "tokens", "events", "problem_json", "openai", "tgi")
}
# Where a process begins: these import some of their own rooms late, since the time imports take is what they are about.
ENTRIES = {"server.cli": {"server"}, "engine.__main__": {"engine"}}
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}

# The engine from the ground up: a module imports from its own level and those below it, never from one above. An entry
# names a module or a package; the longer one wins.
LEVELS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "messages",
        "model_info",
        "frames",
        "child",
        "orphan",
        "sharing",
        "pulse",
        "builtin",
        "decoder_stages",
        "pace",
        "threads",
        "watermark",
    ),
    ("request", "watch", "decoders", "chat", "control_tokens", "healing", "life", "spelling", "stretch"),
    ("cache",),
    ("batch",),
    ("runners.runner", "attention.plan", "rotary"),
    ("native.compiler",),
    ("native",),
    ("logits", "stopping", "trace"),
    ("inspecting",),
    ("decoding.drafting", "decoding.race"),
    ("decoding",),
    ("runners", "attention", "plan", "scheduler", "settling", "outbox", "loading", "text"),
    ("parts", "intake", "roster", "engine", "stream", "client", "fields", "assistants"),
    ("build", "preparing"),
    ("process",),
    ("__main__",),
)
# What the HTTP process imports too: these must stay free of torch, wherever else they stand.
WITHOUT_TORCH = (
    "engine.native.compiler",
    "engine.client",
    "engine.child",
    "engine.life",
    "engine.pulse",
    "engine.frames",
    "engine.sharing",
    "engine.stream",
    "engine.text",
    "engine.errors",
    "engine.messages",
    "engine.model_info",
)


def modules(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each imported module and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node.module or "", node.lineno
            if node.module in ROOMS:
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def offenders(*rooms: str, banned: set[str]) -> list[str]:
    """Imports in `rooms` of a module whose dotted name or whose top-level package is banned."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(*rooms)
        for name, line in imports(parse(path))
        if name in banned or name.split(".")[0] in banned
    ]


def third_party(*rooms: str) -> set[str]:
    tops = {name.split(".")[0] for path in modules(*rooms) for name, _ in imports(parse(path))}
    return tops - set(sys.stdlib_module_names) - set(ROOMS)


def test_config_stands_alone():
    assert third_party("config") <= {"pydantic", "pydantic_settings"}
    assert offenders("config", banned=set(ROOMS) - {"config"}) == []


def test_schemas_are_a_leaf():
    assert third_party("schemas") <= {"pydantic", "pydantic_core", "msgspec", "huggingface_hub"}
    assert offenders("schemas", banned=set(ROOMS) - {"schemas"}) == []


def test_the_engine_knows_no_web():
    assert offenders("engine", banned={"server", *WEB}) == []


def test_the_engine_knows_no_protocol():
    assert offenders("engine", banned=PROTOCOLS) == []


def test_the_server_never_imports_torch():
    assert offenders("server", banned={"torch", "transformers", "numpy"}) == []


def test_what_the_server_imports_of_the_engine_is_free_of_torch():
    reached, ahead = set(), {name for path in modules("server") for name, _ in imports(parse(path))}
    ahead |= set(WITHOUT_TORCH)
    while ahead:
        name = ahead.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        if name.startswith("engine.") and path.exists() and name not in reached:
            reached.add(name)
            found = {module for module, _ in imports(parse(path))}
            assert not found & {"torch", "transformers"}, f"{name} imports torch, and the server imports {name}"
            ahead |= found
    assert "engine.client" in reached


def level_of(module: str) -> int | None:
    """The level of `engine.…`, or None for the bare package and for a module that has none yet."""
    levels = {name: number for number, names in enumerate(LEVELS) for name in names}
    parts = module.split(".")[1:]
    known = [levels[name] for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in levels]
    return known[0] if known else None


@pytest.mark.parametrize("path", [path for path in modules("engine") if dotted(path) != "engine"], ids=dotted)
def test_imports_inside_the_engine_go_upward(path: Path):
    own = level_of(dotted(path))
    assert own is not None, "a new module: give it a level in LEVELS"
    used = {name: level_of(name) for name, _ in imports(parse(path)) if name.startswith("engine.")}
    assert {name: level for name, level in used.items() if level is not None and level > own} == {}


@pytest.mark.parametrize("path", modules(*ROOMS), ids=dotted)
def test_imports_stand_at_the_top(path: Path):
    functions = [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {name.split(".")[0] for function in functions for name, _ in imports(function)}
    inside -= ENTRIES.get(dotted(path), set())
    assert inside <= OPTIONAL | ({"huggingface_hub"} if path.is_relative_to(ROOT / "schemas") else set())
    assert "TYPE_CHECKING" not in path.read_text(encoding="utf-8")


def is_torch_load(call: ast.Call) -> bool:
    return ast.unparse(call.func) == "torch.load"


@pytest.mark.parametrize("path", modules(*ROOMS, "benchmarks"), ids=dotted)
def test_nothing_runs_code_from_data(path: Path):
    tree = parse(path)
    assert not {name.split(".")[0] for name, _ in imports(tree)} & UNSAFE
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"eval", "exec", "compile", "__import__"}
    loads = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and is_torch_load(node)]
    assert [load for load in loads if "weights_only=True" not in load] == []


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["grammar"]]
    names = {re.split(r"[<>=!;\[ ]", line)[0].lower().replace("-", "_") for line in declared}
    other_names = {"pydantic_core": "pydantic"}
    used = {other_names.get(name, name) for name in third_party(*ROOMS)}
    assert used <= names, "imported, but not in pyproject.toml"
    # uvicorn takes uvloop by name; transformers the other two, where it converts a SentencePiece model.
    assert names - used <= {"uvloop", "sentencepiece", "protobuf"}, "in pyproject.toml, but never imported"
