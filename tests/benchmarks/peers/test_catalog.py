"""Which peers can be asked, and what they weigh."""

from pathlib import Path

import pytest

from beamhouse.engine.loading.files import BUILTIN_FILES
from benchmarks.peers.build import FAILED
from benchmarks.peers.catalog import SIDES, Choice, NotInstalled, installed, num_weights
from benchmarks.peers.formats import Model
from benchmarks.versus import prepared


def test_a_peer_that_is_missing_or_broken_says_why(tmp_path: Path):
    with pytest.raises(NotInstalled, match="make peers"):
        installed(tmp_path, "openvino", "venv/bin/python")
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / FAILED).write_text("no compiler\n")
    with pytest.raises(NotInstalled, match="no compiler"):
        installed(tmp_path, "openvino", "venv/bin/python")
    choice = Choice(Model(BUILTIN_FILES, tmp_path / "models", tmp_path), tmp_path, 1, {})
    sides, left_out = prepared(list(SIDES), choice)
    assert {side.name for side in sides} == {"beamhouse", "beamhouse int8", "beamhouse int4", "generate()"}
    assert left_out.keys() == {"llama.cpp", "openvino", "transformers-serve", "llama.cpp-q8_0"}


def test_weights_of_the_generated_model_are_those_that_a_step_reads():
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")
    shape = dict(zip(names, (896, 4864, 14, 2, 64), strict=True)) | {"num_hidden_layers": 24, "vocab_size": 32000}
    assert num_weights(shape) == 386_498_560
    assert num_weights(shape) - num_weights(shape, with_head=False) == 896 * 32000
