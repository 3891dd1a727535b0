"""What is wrong with a request, as data: every check answers with these, and the routes show them all at once."""

from dataclasses import dataclass

from beamhouse.schemas.words import ProblemCode

MAX_SHOWN = 64
"""Characters that messages repeat of a name or a value, which a client may have made of any length."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field.

    field: dotted path of the field inside the request, as `generation_config.top_p` or `inputs`.
    message: one sentence for people: what was given, what is allowed.
    """

    field: str
    code: ProblemCode
    message: str
