"""The mode a configuration asks for, beside the library's own choice."""

import logging
import re
from pathlib import Path
from random import Random

import pytest
import transformers

from beamhouse.engine.loop.obeyed_fields import NOT_OBEYED
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.modes import GenerationMode

CHOICES = {
    "num_beams": [None, 1, 2, 4],
    "num_beam_groups": [None, 1, 2],
    "do_sample": [None, False, True],
    "top_k": [None, 0, 1, 2, 50],
    "penalty_alpha": [None, 0.0, 0.6],
    "force_words_ids": [None, None, None, [[1]]],
    "constraints": [None, None, None, [{"type": "phrasal", "token_ids": [1]}]],
    "prompt_lookup_num_tokens": [None, None, 3],
    "assistant_early_exit": [None, None, 2],
    "use_mtp": [None, False, True],
    "dola_layers": [None, None, "low", [1]],
}


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, logger="transformers")


def test_the_names_are_the_library_s():
    theirs = {mode.value for mode in transformers.generation.GenerationMode}
    assert {str(mode) for mode in GenerationMode} == theirs


@pytest.mark.parametrize("assistant", [None, "drafter"])
def test_the_mode_is_the_library_s(assistant):
    random = Random(0)
    for _ in range(1500):
        values = {name: random.choice(choices) for name, choices in CHOICES.items()}
        theirs = transformers.GenerationConfig(**values).get_generation_mode(assistant)
        assert str(GenerationConfig(**values).get_generation_mode(assistant)) == theirs.value, values


def test_the_table_of_the_modes_says_what_their_specs_say():
    page = (Path(__file__).parents[3] / "docs" / "modes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)[: len(GenerationMode)]
    assert [mode for mode, _, _ in rows] == [str(mode) for mode in GenerationMode]
    for name, asked_by, num_rows in rows:
        spec = GenerationMode(name).spec
        assert set(spec.fields) - NOT_OBEYED.keys() <= set(re.findall(r"`(\w+)`", asked_by))
        is_one = spec.returns_one or not spec.fields
        assert num_rows == ("1" if is_one else f"`{spec.row_field}`")
