"""How generated text is marked: the green-list watermark and SynthID's."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from beamhouse.schemas.generation.bounds import InnerShare, Weight

Key = Annotated[int, Field(ge=0, le=2**63 - 1)]

NO_WATERMARK = "none"
"""What a request names to be left unmarked."""
MODEL_WATERMARK = "model"
"""The name of the watermark in the model's own generation_config.json."""
HIDDEN_WATERMARK = "hidden"
"""What is shown instead of a watermark that has no name: its keys never are."""
RESERVED = (NO_WATERMARK, MODEL_WATERMARK, HIDDEN_WATERMARK)


class BaseWatermarkingConfig(BaseModel):
    """What both kinds have in common: the methods of the library's classes. A value out of range cannot be set."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, validate_assignment=True, use_attribute_docstrings=True
    )

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **overrides: object) -> Self:
        """A configuration from a dict, with some values replaced. Raises ValueError for an unknown name in either.

        The library ignores unknown overrides; a mistyped one would leave the text marked in another way than wanted.
        """
        return cls.model_validate({**config_dict, **overrides})

    def to_dict(self) -> dict[str, Any]:
        """All values by name."""
        return self.model_dump()

    def to_json_string(self) -> str:
        """All values as JSON, in the order of their declaration."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write all values to a JSON file, sorted by name."""
        Path(json_file_path).write_text(json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def update(self, **kwargs: object) -> dict[str, object]:
        """Set the values named, all of them or, with ValueError, none; return those there are not."""
        known = {name: value for name, value in kwargs.items() if name in type(self).model_fields}
        updated = self.from_dict(self.to_dict(), **known)
        for name in known:
            setattr(self, name, getattr(updated, name))
        return {name: value for name, value in kwargs.items() if name not in known}

    def validate(self) -> None:  # type: ignore[override]  # pydantic's old name for model_validate; the library's wins
        """Raise ValueError if a value is out of range, as one can be after `model_construct` alone."""
        self.from_dict(self.to_dict())


class WatermarkingConfig(BaseWatermarkingConfig):
    """Adds `bias` to a pseudo-random green part of the vocabulary in each step. Source: arXiv:2306.04634."""

    greenlist_ratio: InnerShare = 0.25
    """Part of the vocabulary that is green; the number of green tokens is rounded down."""
    bias: Weight = 2.0
    """Added to the score of green tokens."""
    hashing_key: Key = 15485863
    """Secret that the seed of each green list is made from."""
    seeding_scheme: Literal["lefthash", "selfhash"] = "lefthash"
    """lefthash seeds from the last token, selfhash from a window that ends in the candidate itself."""
    context_width: Annotated[int, Field(ge=1, le=1024)] = 1
    """Window of selfhash in tokens; lefthash only waits until the sequence has that many."""


class SynthIDTextWatermarkingConfig(BaseWatermarkingConfig):
    """Marks sampled text by a tournament between candidates. Source: doi:10.1038/s41586-024-08025-4."""

    ngram_len: Annotated[int, Field(ge=2, le=64)]
    """Length of the hashed n-grams: the candidate and the generated tokens before it."""
    keys: Annotated[list[Key], Field(fail_fast=True, min_length=1, max_length=64)]
    """Secrets, one for each round of the tournament."""
    sampling_table_size: Annotated[int, Field(ge=1, le=2**24)] = 65536
    """Number of random bits in the table."""
    sampling_table_seed: Key = 0
    """Seed of the table of random bits."""
    context_history_size: Annotated[int, Field(ge=1, le=65536)] = 1024
    """How many past contexts are remembered; a repeated one is not marked again."""
    skip_first_ngram_calls: bool = False
    """Leave the first `ngram_len - 1` tokens unmarked."""
    debug_mode: bool = False
    """Mark uniform scores instead of the model's, to test the implementation."""
