"""What the fields that all bodies of OpenAI's protocol share ask for in our own words: pure functions."""

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.model_rules import PREFIX
from beamhouse.schemas.generation.resolved import ends_of
from beamhouse.schemas.openai.sampling import SamplingFields
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.drawing import (
    DO_SAMPLE,
    MAX_NEW_TOKENS,
    NUM_RETURNED,
    STOP_STRINGS,
    decide_drawing,
    decide_stop_string,
    gather_own,
    mode_with,
)
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.doors.openai.constraints import gather_constraint

NUM_BEAMS = f"{PREFIX}num_beams"
ENDS = f"{PREFIX}eos_token_id"
RENAMED = {
    "max_tokens": MAX_NEW_TOKENS,
    "min_tokens": f"{PREFIX}min_new_tokens",
    "n": NUM_RETURNED,
    "truncate_prompt_tokens": "truncate",
    "add_special_tokens": "add_special_tokens",
    "skip_special_tokens": "outputs.skip_special_tokens",
}
"""Fields whose values mean the same in ours."""


def gather_sampling(body: SamplingFields, file: GenerationConfig) -> Gathering:
    """Everything but the prompt, the log-probabilities of choices, and how long they get where nobody says.

    file: the model's own configuration. Raises InvalidRequest for fields that contradict each other.
    """
    asked = Gathering()
    gather_fields(asked, body)
    gather_outputs(asked, body)
    gather_ends(asked, body, file)
    gather_constraint(asked, body)
    if body.use_beam_search:
        asked.put(NUM_BEAMS, body.best_of or body.n, "best_of" if body.best_of else "n")
        if asked.get(DO_SAMPLE) is None:
            asked.settle(DO_SAMPLE, False, "use_beam_search")
    decide_drawing(asked, body, file)
    decide_number(asked, body, file)
    if body.stream_options is not None and not body.stream:
        raise invalid("stream_options", ProblemCode.CONFLICT, "stream_options go with stream")
    return asked


def gather_fields(asked: Gathering, body: SamplingFields) -> None:
    """What stands in the body by a name that is ours, or only called otherwise."""
    gather_own(asked, body)
    for name, place in RENAMED.items():
        asked.put(place, getattr(body, name), name)
    if body.stop:
        asked.put(STOP_STRINGS, body.stop, "stop")
    if body.logit_bias:
        bias = [([int(token_id)], weight) for token_id, weight in body.logit_bias.items()]
        asked.put(f"{PREFIX}sequence_bias", bias, "logit_bias")


def gather_outputs(asked: Gathering, body: SamplingFields) -> None:
    """What is to be told. A stop string is no part of the text unless it is asked for."""
    asked.put("outputs.include_stop_string", body.include_stop_str_in_output, "include_stop_str_in_output")
    decide_stop_string(asked, "include_stop_str_in_output")
    asked.put("outputs.logprobs", body.logprobs_mode, "logprobs_mode")
    if body.prompt_logprobs is not None:
        asked.put("outputs.prompt_logprobs", True, "prompt_logprobs")
        asked.put("outputs.prompt_top_n_tokens", body.prompt_logprobs or None, "prompt_logprobs")


def gather_logprobs(asked: Gathering, body: SamplingFields, num_top: int, name: str) -> None:
    """Log-probabilities of what is generated, and of the likeliest tokens; those of the model itself unless others are
    asked for.

    name: of the field that asks for them.
    """
    asked.put("outputs.transition_scores", True, name)
    asked.put("outputs.top_n_tokens", num_top or None, name)
    if asked.get("outputs.logprobs") is None:
        asked.settle("outputs.logprobs", "raw", "logprobs_mode")


def gather_ends(asked: Gathering, body: SamplingFields, file: GenerationConfig) -> None:
    if body.ignore_eos:
        asked.put(ENDS, [], "ignore_eos")
    if body.stop_token_ids:
        known = ends_of(file.eos_token_id if asked.get(ENDS) is None else asked.get(ENDS))
        asked.settle(ENDS, list(dict.fromkeys([*known, *body.stop_token_ids])), "stop_token_ids")


def decide_number(asked: Gathering, body: SamplingFields, file: GenerationConfig) -> None:
    """How many are drawn, or returned of a search. Modes that give one answer get the prompt so many times."""
    number, name = asked.get(NUM_RETURNED) or 1, asked.given_names.get(NUM_RETURNED, "n")
    best_of = body.best_of or number
    if best_of < number:
        message = f"best_of is {best_of}; allowed: at least {name}, which is {number}"
        raise invalid("best_of", ProblemCode.OUT_OF_RANGE, message)
    mode = mode_with(asked, file)
    if mode.spec.is_search or body.use_beam_search:
        asked.put(NUM_BEAMS, body.best_of, "best_of")
        asked.settle(NUM_RETURNED, number, name)
        return
    if best_of > number:
        name = "best_of"
        if body.stream:
            message = f"best_of is {best_of}; a stream tells all that is drawn, so it goes with {number} at most"
            raise invalid(name, ProblemCode.CONFLICT, message)
        asked.put("outputs.transition_scores", True, name)
    returns_one = mode.spec.returns_one or not asked.get(DO_SAMPLE)
    asked.settle(NUM_RETURNED, 1 if returns_one else best_of, name)
    if returns_one and best_of > 1:
        asked.settle("copies", best_of, name)
