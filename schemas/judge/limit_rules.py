"""How much of each a request may ask for on this server: the operator's own limits."""

from collections.abc import Iterator

from beamhouse.schemas.generation.model_rules import PREFIX
from beamhouse.schemas.judge.asked import Asked, Facts
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode


def numbers(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Sequences, stop strings, likeliest tokens."""
    limits, stops = facts.limits, asked.config.stop_strings
    num_stops = len(stops) if isinstance(stops, list) else stops is not None
    copies, returned = asked.body.copies or 1, asked.config.num_return_sequences
    if copies * returned > (limits.max_sequences or copies * returned):
        field, given = ("copies", copies) if copies > 1 else (PREFIX + "num_return_sequences", returned)
        most = f"at most {limits.max_sequences} sequences of a prompt"
        message = f"{field.removeprefix(PREFIX)} is {given}; allowed on this server: {most}"
        yield Problem(field, ProblemCode.OUT_OF_RANGE, message)
    if num_stops > limits.max_stop_strings:
        message = f"stop_strings holds {num_stops} texts; allowed on this server: at most {limits.max_stop_strings}"
        yield Problem(PREFIX + "stop_strings", ProblemCode.OUT_OF_RANGE, message)
    for field, number in asked.num_top_tokens.items():
        if number > limits.max_top_tokens:
            message = f"{field} is {number}; allowed on this server: at most {limits.max_top_tokens}"
            yield Problem(f"outputs.{field}", ProblemCode.OUT_OF_RANGE, message)


def prompts(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """How long each prompt is."""
    most = facts.limits.max_prompt_tokens
    for prompt in asked.prompts if most else ():
        if prompt.num_tokens > most:
            message = f"{prompt.field} has {prompt.num_tokens} tokens; allowed on this server: at most {most}"
            yield Problem(prompt.field, ProblemCode.TOO_LONG, message)
