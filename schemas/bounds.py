"""The types of generation fields: strict kinds with closed ranges, so that no accepted number can break a step.

Where the library sets no limit, the one here is far outside what decoding needs and well inside float32 and int64.
"""

from typing import Annotated

from pydantic import Field

MAX_INT = 2**31 - 1
MAX_FIELDS = 256
MAX_BEAMS = 1024
MAX_DRAFT_TOKENS = 1024
MAX_IDS = 2**18
MAX_PHRASES = 2**14
MAX_PHRASE_IDS = 1024
MAX_LAYERS = 1024
MAX_STOP_STRINGS = 64
MAX_STOP_STRING_CHARS = 1024

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
Weight = Annotated[float, Field(ge=-1e3, le=1e3)]
Bias = Annotated[float, Field(ge=-1e9, le=1e9)]

TokenId = Annotated[int, Field(ge=0, le=MAX_INT)]
TokenIds = Annotated[list[TokenId], Field(fail_fast=True, max_length=MAX_IDS)]
SomeTokenIds = Annotated[list[TokenId], Field(fail_fast=True, min_length=1, max_length=MAX_IDS)]
Phrase = Annotated[list[TokenId], Field(fail_fast=True, min_length=1, max_length=MAX_PHRASE_IDS)]
Phrases = Annotated[list[Phrase], Field(fail_fast=True, min_length=1, max_length=MAX_PHRASES)]
StopString = Annotated[str, Field(min_length=1, max_length=MAX_STOP_STRING_CHARS)]
