"""A dozen rows of docs/architectures.md: models that have little in common, each served as `generate()` answers."""

import re

import pytest

from tests.architectures.__main__ import FILE
from tests.architectures.configs import names
from tests.architectures.trial import outcome_of

SERVED = (
    "ministral3", "llama4_text", "stablelm, normed heads", "nanochat", "olmoe", "deepseek_v3", "gpt_oss",
    "gemma3n_text, shared keys", "smollm3", "cohere2", "phimoe",
)  # fmt: skip
REFUSED = {"bloom": "attention interface", "mamba": "recurrent state"}


@pytest.mark.parametrize("name", SERVED)
def test_an_architecture_answers_as_the_library_does(name: str) -> None:
    outcome = outcome_of(name, two_bytes=name == "olmoe")
    assert (outcome.wrong, outcome.reason) == ("", "")
    assert outcome.served
    assert not outcome.two_bytes.startswith("refused")


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_that_cannot_be_right_is_refused_with_its_reason(name: str) -> None:
    outcome = outcome_of(name, two_bytes=False)
    assert outcome.is_built
    assert outcome.served == ""
    assert REFUSED[name] in outcome.reason


def test_the_page_has_a_row_for_every_class_of_the_library() -> None:
    rows = re.findall(r"^\| ([^|`]+) \| `", FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == names()
