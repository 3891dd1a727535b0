"""What a body of TGI's becomes in our own words: pure but for the seed, which the caller draws.

TGI's defaults are its own: it reads no sampling fields from the model's file, draws from all tokens, and goes on until
the context is full. What it has no word for is as in our own protocol.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.defaults import only_with
from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.model_rules import PREFIX
from beamhouse.schemas.tgi.requests import Grammar, Parameters, TgiRequest
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.constraint import constrain, schema_of
from beamhouse.server.asking.drawing import (
    DO_SAMPLE,
    MAX_LENGTH,
    NUM_RETURNED,
    PROMPT_ONLY,
    STOP_STRINGS,
    gather_beside,
    names_end,
)
from beamhouse.server.asking.gathering import Gathering

Mark = str | Mapping[str, Any]

OUTER = "parameters."
DRAWING = tuple(only_with("do_sample"))
"""Fields of `generate()` that act on draws alone: each of them, where it is set, asks for one."""
FROM_ALL = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0}
"""What a draw is where TGI's body says nothing, whatever the model's file says."""
UNCHANGED = {"temperature": 1.0, "min_p": 0.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0}
"""Values of those that change nothing, and so ask for nothing."""
NOTHING = Parameters()


@dataclass(frozen=True, slots=True)
class Door:
    """mark: what `watermark: true` means here. draw_seed: for those who draw and name none."""

    mark: Mark | None
    draw_seed: Callable[[], int]


def translate_generation(body: TgiRequest, door: Door) -> GenerateRequest:
    """The request that a body stands for. Raises InvalidRequest in the client's words."""
    asked, parameters = Gathering(), body.parameters or NOTHING
    asked.put("inputs", body.inputs, "inputs")
    asked.put("stream", body.stream or None, "stream")
    asked.put("add_special_tokens", body.add_special_tokens, "add_special_tokens")
    gather_fields(asked, parameters)
    gather_outputs(asked, body, parameters)
    gather_mark(asked, parameters, door.mark)
    gather_grammar(asked, parameters.grammar)
    if isinstance(parameters.generation_config, str):
        name_configuration(asked, parameters.generation_config)
    else:
        decide_drawing(asked, body, parameters)
        decide_rest(asked)
    check_number(asked, body, parameters)
    if asked.get(DO_SAMPLE) and not any(asked.get(name) is not None for name in ("seed", "prng_key")):
        asked.settle("seed", door.draw_seed(), f"{OUTER}seed")
    return asked.request()


def gather_fields(asked: Gathering, parameters: Parameters) -> None:
    """What stands by a name of ours, or is only called otherwise."""
    for name in GenerationFields.model_fields:
        asked.put(PREFIX + name, getattr(parameters, name), OUTER + name)
    own = parameters.generation_config
    if isinstance(own, GenerationConfig):
        for name, value in own.set_fields().items():
            asked.put(PREFIX + name, value, OUTER + PREFIX + name)
    gather_beside(asked, parameters, OUTER)
    asked.put(STOP_STRINGS, parameters.stop or None, f"{OUTER}stop")
    asked.put("truncate", parameters.truncate, f"{OUTER}truncate")
    if (parameters.best_of or 1) > 1:
        asked.put("copies", parameters.best_of, f"{OUTER}best_of")


def gather_outputs(asked: Gathering, body: TgiRequest, parameters: Parameters) -> None:
    """What is to be told: each token of a stream and of details has its log-probability."""
    scoring = {"stream": body.stream, "best_of": (parameters.best_of or 1) > 1, "details": parameters.details}
    scoring["decoder_input_details"] = parameters.decoder_input_details
    for name, is_asked in scoring.items():
        if is_asked and not asked.get(PROMPT_ONLY):
            asked.put("outputs.transition_scores", True, name if name == "stream" else OUTER + name)
    asked.put("outputs.top_n_tokens", parameters.top_n_tokens or None, f"{OUTER}top_n_tokens")
    asked.put("outputs.prompt_logprobs", parameters.decoder_input_details or None, f"{OUTER}decoder_input_details")


def gather_mark(asked: Gathering, parameters: Parameters, mark: Mark | None) -> None:
    if not parameters.watermark:
        return
    if mark is None:
        message = "watermark is true, and this server's setting tgi_watermark names none"
        raise invalid(f"{OUTER}watermark", ProblemCode.NOT_SUPPORTED, message)
    asked.put(f"{PREFIX}watermarking_config", mark, f"{OUTER}watermark")


def gather_grammar(asked: Gathering, grammar: Grammar | None) -> None:
    if grammar is None:
        return
    name, value = f"{OUTER}grammar", grammar.value
    if grammar.type == "regex":
        constrain(asked, "regex", value, name)
    elif grammar.type == "json_schema":
        constrain(asked, "json_schema", named_schema(value, f"{name}.value"), name)
    else:
        constrain(asked, "json_schema", schema_of(value, f"{name}.value"), name)


def named_schema(value: dict[str, Any] | str, name: str) -> dict[str, Any]:
    """The schema in an object that gives it a name as well."""
    named = schema_of(value, name) or {}
    schema = named.get("schema")
    if not isinstance(schema, dict):
        message = "value has no object in schema; for json_schema it is {name?, schema}"
        raise invalid(name, ProblemCode.MISSING, message)
    if unknown := named.keys() - {"name", "schema"}:
        key = min(unknown)
        raise invalid(f"{name}.{key}", ProblemCode.UNKNOWN_FIELD, f"{key[:64]} is not a field; known: name, schema")
    return schema


def name_configuration(asked: Gathering, name: str) -> None:
    """A stored configuration stands alone, and says by itself whether to draw, and how long to go on."""
    beside = next((place for place in asked.values if place.startswith(PREFIX)), None)
    if beside is not None:
        word = asked.given_names[beside]
        message = f"{word.rpartition('.')[2]} and the name of a stored configuration exclude each other"
        raise invalid(word, ProblemCode.CONFLICT, message)
    asked.put(PREFIX.removesuffix("."), name, OUTER + PREFIX.removesuffix("."))


def decide_drawing(asked: Gathering, body: TgiRequest, parameters: Parameters) -> None:
    """Whether tokens are drawn, and from which.

    Without `parameters` they are; else by `do_sample`, or where any field is set that acts on draws alone. So
    `do_sample` false beside a temperature draws, as TGI does; within `generation_config` it holds.
    """
    own = parameters.generation_config
    said = own.do_sample if isinstance(own, GenerationConfig) else None
    if said is None:
        is_drawn = body.parameters is None or bool(parameters.do_sample) or bool(asking_for_draws(parameters))
        asked.settle(DO_SAMPLE, is_drawn, f"{OUTER}do_sample")
    if asked.get(DO_SAMPLE):
        for name, value in FROM_ALL.items():
            if asked.get(PREFIX + name) is None:
                asked.settle(PREFIX + name, value, OUTER + name)


def asking_for_draws(parameters: Parameters) -> list[str]:
    """The fields that do; temperature 1 changes nothing, and contrastive search has another use for `top_k`."""
    given = [name for name in DRAWING if getattr(parameters, name) not in (None, UNCHANGED.get(name))]
    return [name for name in given if not (name == "top_k" and parameters.penalty_alpha)]


def decide_rest(asked: Gathering) -> None:
    """What TGI takes where its body says nothing, whatever the model's file says."""
    if asked.get(f"{PREFIX}repetition_penalty") is None:
        asked.settle(f"{PREFIX}repetition_penalty", 1.0, f"{OUTER}repetition_penalty")
    if not names_end(asked):
        asked.settle("fill_context", True, f"{OUTER}max_new_tokens")
        asked.given_names[MAX_LENGTH] = f"{OUTER}max_new_tokens"


def check_number(asked: Gathering, body: TgiRequest, parameters: Parameters) -> None:
    """What goes with several sequences, and with a stream, whose events have no place for more than one."""
    if (parameters.best_of or 1) > 1:
        name = f"{OUTER}best_of"
        if not asked.get(DO_SAMPLE):
            raise invalid(name, ProblemCode.CONFLICT, "best_of above 1 goes with sampling; set do_sample")
        if parameters.seed is not None or parameters.prng_key is not None:
            raise invalid(name, ProblemCode.CONFLICT, "best_of above 1 and a seed exclude each other; give one of them")
    if not body.stream:
        return
    streamed = {
        "best_of": (parameters.best_of or 1) > 1,
        "num_return_sequences": (asked.get(NUM_RETURNED) or 1) > 1,
        "decoder_input_details": parameters.decoder_input_details,
        "outputs.progress": asked.get("outputs.progress"),
        PROMPT_ONLY: asked.get(PROMPT_ONLY),
    }
    for name, is_asked in streamed.items():
        if is_asked:
            word = name.rpartition(".")[2]
            raise invalid(OUTER + name, ProblemCode.CONFLICT, f"{word} does not go with a stream of this protocol")
