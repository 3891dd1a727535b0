"""What the text of a choice must follow, in each of the spellings that clients send."""

import re

from beamhouse.schemas.beamhouse.response_format import ANY_OBJECT
from beamhouse.schemas.openai.sampling import SamplingFields, StructuredOutputs
from beamhouse.server.asking.constraint import constrain, schema_of
from beamhouse.server.asking.gathering import Gathering


def gather_constraint(asked: Gathering, body: SamplingFields) -> None:
    """At most one field may say it. Raises InvalidRequest."""
    constrain(asked, "token_ids", body.allowed_token_ids, "allowed_token_ids")
    constrain(asked, "json_schema", schema_of(body.guided_json, "guided_json"), "guided_json")
    constrain(asked, "regex", body.guided_regex, "guided_regex")
    constrain(asked, "regex", one_of(body.guided_choice), "guided_choice")
    constrain(asked, "grammar", body.guided_grammar, "guided_grammar")
    if body.structured_outputs is not None:
        gather_structured(asked, body.structured_outputs)


def gather_structured(asked: Gathering, given: StructuredOutputs) -> None:
    start = "structured_outputs"
    constrain(asked, "json_schema", schema_of(given.json_schema, f"{start}.json"), f"{start}.json")
    constrain(asked, "json_schema", ANY_OBJECT if given.json_object else None, f"{start}.json_object")
    constrain(asked, "regex", given.regex, f"{start}.regex")
    constrain(asked, "regex", one_of(given.choice), f"{start}.choice")
    constrain(asked, "grammar", given.grammar, f"{start}.grammar")


def one_of(choices: list[str] | None) -> str | None:
    """An expression for exactly these texts."""
    return None if choices is None else "|".join(map(re.escape, choices))
