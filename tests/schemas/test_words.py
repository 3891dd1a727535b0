"""The words that programs read: their page, and how they travel."""

import re
from pathlib import Path

import msgspec
import pytest

from beamhouse.schemas.words import ErrorCode, FinishType, ProblemCode, Stage, Word

KINDS = (ErrorCode, ProblemCode, FinishType, Stage)
ROW = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)


def test_the_page_lists_every_word_and_its_meaning():
    page = (Path(__file__).parents[2] / "docs" / "words.md").read_text(encoding="utf-8")
    sections = [dict(ROW.findall(section)) for section in page.split("\n## ")[1:]]
    assert sections == [{str(word): word.meaning for word in kind} for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_travels_as_text_and_arrives_as_itself(kind: type[Word]):
    decode = msgspec.msgpack.Decoder(list[kind]).decode
    assert all(came is word for came, word in zip(decode(msgspec.msgpack.encode(list(kind))), kind, strict=True))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(list(kind))) == [word.value for word in kind]
