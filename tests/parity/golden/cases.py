"""Makes `cases.json` of the table: every wish for every model, with the prompts and tokens filled in.

python -m tests.parity.golden.cases                    what the first pass asks, without any `seen` token
python -m tests.parity.golden.cases FIRST.json.gz      the cases, from the answers of that first pass
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from beamhouse.schemas.generation.config import GenerationConfig
from tests.parity.golden.answer import read_golden
from tests.parity.golden.case import Case, write_cases
from tests.parity.golden.models import DRAFT, FAMILIES
from tests.parity.golden.table import TABLE, Wish
from tests.parity.models import BUILTIN, VOCAB_SIZE, reference

TEXTS = (
    "Once upon a time there was a little rabbit who lived under an old tree near the river. Every morning she went out "
    "to look for berries, and every evening she came home with a full basket.",
    "The boy opened the door and saw a big brown bear sitting in the kitchen. The bear was eating all the bread and "
    "honey, and it did not look happy at all. What could the boy do?",
    "Mother said that the moon was made of cheese, but Anna did not believe her. One night she climbed to the top of "
    "the hill with a long ladder and a very small spoon.",
)
LOOP = "The cat sat on the mat. The dog sat on the cat. "
PHRASES = (" an old friend", " river", " the sun", " happy", " stars")
TINY_PHRASES = ([7, 9], [11], [13, 14], [21], [30, 31])


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(BUILTIN / "tokenizer.json"))


def _ids(text: str) -> list[int]:
    ids: list[int] = _tokenizer().encode(text, add_special_tokens=False).ids
    return ids


def prompt(family: str, number: int, length: int, loops: bool) -> list[int]:
    """Token ids: of a story behind its start token for the built-in model, random ones for the others."""
    if family == "builtin":
        text = LOOP * 8 if loops else TEXTS[number % len(TEXTS)]
        ids = [reference(family).config.bos_token_id, *_ids(text)]
        assert len(ids) >= length
        return ids[:length]
    generator = torch.Generator().manual_seed(1000 + number)
    ids = torch.randint(3, VOCAB_SIZE, (8 if loops else length,), generator=generator).tolist()
    return (ids * length)[:length]


def phrases(family: str) -> list[list[int]]:
    """What constraints and biases are made of; none is the beginning of another."""
    return [_ids(text) for text in PHRASES] if family == "builtin" else list(TINY_PHRASES)


class Filler:
    """Puts tokens in the place of the table's words. seen: the tokens of the first pass, None while it is prepared.

    Tokens of phrases are not taken: one that also ends sequences ends none inside a phrase.
    """

    def __init__(self, family: str, seen: list[int] | None) -> None:
        self._words = phrases(family)
        self._end: int = reference(family).config.eos_token_id
        in_phrases = {token for phrase in self._words for token in phrase}
        self._seen = None if seen is None else [token for token in seen if token not in in_phrases]

    def fields(self, wish: Wish) -> dict[str, Any]:
        """The fields without words. In the first pass those that need a seen token are left out."""
        kept = {
            name: value for name, value in wish.fields.items() if self._seen is not None or "seen " not in str(value)
        }
        return {name: self._filled(value) for name, value in kept.items()}

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            filled = [self._filled(inner) for inner in value]
            return [inner for place, inner in enumerate(filled) if inner not in filled[:place]]
        if not isinstance(value, str):
            return value
        kind, _, place = value.partition(" ")
        if kind == "seen" and self._seen is not None:
            return self._seen[int(place) % len(self._seen)]
        if kind == "word":
            return self._words[int(place)]
        return self._end if kind == "end" else value


def case(family: str, number: int, name: str, wish: Wish, seen: list[int] | None) -> Case:
    """One wish of the table for one model."""
    config = reference(family).config
    fields = {"eos_token_id": config.eos_token_id, "pad_token_id": config.pad_token_id}
    fields |= Filler(family, seen).fields(wish)
    mode = GenerationConfig.from_dict(fields).get_generation_mode(DRAFT if wish.draft else None)
    return Case(
        id=f"{family}: {name}",
        family=family,
        mode=mode.value,
        prompt_ids=prompt(family, number, wish.length, wish.loops),
        fields=fields,
        seed=wish.seed,
        draft=wish.draft,
        negative_prompt_ids=prompt(family, number + 1, wish.negative_length, False),
    )


def main() -> None:
    first = read_golden(Path(sys.argv[1])).answers if len(sys.argv) > 1 else None
    cases = []
    for family in FAMILIES:
        for number, (name, wish) in enumerate(TABLE.items()):
            seen = first[f"{family}: {name}"].sequences[0] if first is not None else None
            cases.append(case(family, number, name, wish, seen))
    write_cases(cases)


if __name__ == "__main__":
    main()
