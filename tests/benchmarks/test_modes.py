"""What the benchmark of modes can be asked; the figures themselves are not tested."""

from pathlib import Path

import pytest

from beamhouse.engine.loading.files import BUILTIN_DRAFT
from beamhouse.server.command.bench.modes import MODES
from benchmarks.modes import read_options


def test_all_modes_are_compared_unless_some_are_chosen():
    assert read_options([]).modes == [mode.name for mode in MODES]
    assert read_options(["--modes", "sample", "beam_search"]).modes == ["sample", "beam_search"]


def test_one_thread_and_full_precision_are_the_defaults():
    assert (read_options([]).threads, read_options([]).device, read_options([]).dtype) == (1, "cpu", "float32")


def test_the_builtin_model_brings_its_draft_and_others_need_one():
    assert read_options([]).draft == BUILTIN_DRAFT
    assert "draft_model" not in read_options(["--model", "other"]).modes
    assert read_options(["--model", "other", "--draft", "small"]).draft == Path("small")


@pytest.mark.parametrize(
    "wrong",
    [["--modes", "unheard"], ["--requests", "0"], ["--draft-tokens", "-1"], ["--model", "a", "--modes", "draft_model"]],
)
def test_wrong_options_are_refused(wrong: list[str], capsys):
    with pytest.raises(SystemExit):
        read_options(wrong)
    assert "error" in capsys.readouterr().err
