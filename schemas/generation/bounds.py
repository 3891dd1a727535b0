"""The types of generation fields: strict kinds with closed ranges, so that no accepted number can break a step.

Where the library sets no limit, the one here is far outside what decoding needs and well inside float32 and int64.
"""

from typing import Annotated, Any

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

MAX_INT = 2**31 - 1
MAX_FIELDS = 256
MAX_BEAMS = 1024
MAX_DRAFT_TOKENS = 1024
MAX_IDS = 2**18
MAX_PHRASES = 2**14
MAX_PHRASE_IDS = 1024
MAX_LAYERS = 1024
MAX_FORCED = 256
MAX_STOP_STRINGS = 64
MAX_STOP_STRING_CHARS = 1024
MAX_NAME_CHARS = 128

AtLeastZero = Annotated[int, Field(ge=0, le=MAX_INT)]
AtLeastOne = Annotated[int, Field(ge=1, le=MAX_INT)]
Beams = Annotated[int, Field(ge=1, le=MAX_BEAMS)]
DraftTokens = Annotated[int, Field(ge=1, le=MAX_DRAFT_TOKENS)]

Share = Annotated[float, Field(ge=0, le=1)]
ShareAboveZero = Annotated[float, Field(gt=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
InnerShare = Annotated[float, Field(gt=0, lt=1)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Penalty = Annotated[float, Field(ge=1e-3, le=1e3)]
Surcharge = Annotated[float, Field(ge=-2, le=2)]
Weight = Annotated[float, Field(ge=-1e3, le=1e3)]
Bias = Annotated[float, Field(ge=-1e9, le=1e9)]

LONG = 1024
"""Ids from which on a list is looked through as a whole."""


def pass_ids(most: int = MAX_INT) -> WrapValidator:
    """A long list of nothing but token ids is good; that is told in a fraction of the time that each by itself takes.

    Checking them one by one would also keep all other threads waiting until the last. Anything else goes that way, and
    so does a list of more than `most`.
    """

    def check(given: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        if type(given) is not list or not LONG <= len(given) <= most or set(map(type, given)) != {int}:
            return validate(given)
        return given.copy() if min(given) >= 0 and max(given) <= MAX_INT else validate(given)

    return WrapValidator(check)


TokenId = Annotated[int, Field(ge=0, le=MAX_INT)]
TokenIds = Annotated[list[TokenId], Field(fail_fast=True, max_length=MAX_IDS), pass_ids(MAX_IDS)]
SomeTokenIds = Annotated[list[TokenId], Field(fail_fast=True, min_length=1, max_length=MAX_IDS), pass_ids(MAX_IDS)]
Phrase = Annotated[list[TokenId], Field(fail_fast=True, min_length=1, max_length=MAX_PHRASE_IDS)]
Phrases = Annotated[list[Phrase], Field(fail_fast=True, min_length=1, max_length=MAX_PHRASES)]
StopString = Annotated[str, Field(min_length=1, max_length=MAX_STOP_STRING_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
FORCED = Field(fail_fast=True, min_length=1, max_length=MAX_FORCED)
"""Of lists of what the output must hold."""
