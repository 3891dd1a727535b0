"""What each process imports before it can do its work: the most of the time from the start to readiness."""

import subprocess
import sys

import pytest

HTTP = {"fastapi", "starlette", "sse_starlette", "uvicorn", "prometheus_client", "structlog"}
HEAVY = {"torch", "transformers", "numpy", "tokenizers", "huggingface_hub"}
# Libraries that torch and transformers import where they find them, but that nothing here needs.
IDLE = {"scipy", "sklearn", "pandas", "matplotlib", "torchvision", "torchaudio", "accelerate", "tensorflow", "jax"}


def imported(module: str, of: set[str]) -> set[str]:
    """Which of these packages a fresh interpreter holds after it has imported a module."""
    code = f"import sys, {module}; print(*{sorted(of)} & sys.modules.keys())".replace("[", "{").replace("]", "}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_command_starts_the_engine_before_it_imports_what_serves_http() -> None:
    assert imported("beamhouse.server.command.cli", HTTP | HEAVY) == set()


def test_the_http_process_imports_nothing_that_computes() -> None:
    assert imported("beamhouse.server.command.commands", {"torch", "transformers"}) == set()


@pytest.mark.parametrize("module", ["beamhouse.engine.__main__", "beamhouse.engine.link.child"])
def test_the_engine_process_begins_without_any_package(module: str) -> None:
    assert imported(module, HTTP | HEAVY | {"msgspec", "pydantic"}) == set()


def test_the_engine_process_imports_neither_the_web_nor_what_it_does_not_need() -> None:
    assert imported("beamhouse.engine.process", HTTP | IDLE | {"training.train"}) == set()
