"""What is wrong with a request, as data: every check answers with these, and the routes show them all at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field.

    field: dotted path of the field inside the request, as `generation_config.top_p` or `inputs`.
    code: stable word for programs, as `out_of_range`, `not_supported`, `unknown_field`, `conflict`.
    message: one sentence for people: what was given, what is allowed.
    """

    field: str
    code: str
    message: str
