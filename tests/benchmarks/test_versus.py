"""What a comparison with peers can be asked."""

import pytest

from benchmarks.cases.loads import LOADS
from benchmarks.peers.catalog import SIDES
from benchmarks.versus import read_options


def test_everything_is_compared_unless_some_are_chosen():
    assert read_options([]).sides == list(SIDES)
    assert read_options([]).loads == [load.name for load in LOADS]
    assert read_options(["--set", "num_threads=1", "quantize=int8"]).set == {"num_threads": "1", "quantize": "int8"}
    assert read_options([]).peers.is_absolute()


@pytest.mark.parametrize("wrong", [["--sides", "unheard"], ["--loads", "x"], ["--rounds", "0"], ["--set", "a"]])
def test_wrong_options_are_refused(wrong: list[str], capsys):
    with pytest.raises(SystemExit):
        read_options(wrong)
    assert "error" in capsys.readouterr().err
