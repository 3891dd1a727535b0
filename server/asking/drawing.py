"""What our own fields ask for in the body of another protocol, and whether tokens are drawn: pure functions.

The APIs have defaults of their own: they draw, at temperature 1 from all tokens, unless they are told otherwise. What
they have no word for, the model's own file says.
"""

from beamhouse.schemas.beamhouse.generate import Beside, Outputs
from beamhouse.schemas.beamhouse.own_fields import OwnFields
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.defaults import only_with
from beamhouse.schemas.generation.model_rules import PREFIX
from beamhouse.schemas.generation.modes import GenerationMode, mode_of
from beamhouse.schemas.generation.resolution import merge
from beamhouse.server.asking.gathering import Gathering

DO_SAMPLE = f"{PREFIX}do_sample"
NUM_RETURNED = f"{PREFIX}num_return_sequences"
MAX_NEW_TOKENS, MAX_LENGTH = f"{PREFIX}max_new_tokens", f"{PREFIX}max_length"
STOP_STRINGS = f"{PREFIX}stop_strings"
PROMPT_ONLY = "outputs.prompt_only"
OWN_MEANING = ("temperature", "top_k")
"""Fields of `generate()` that mean something else in the body."""
FROM_ALL = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
"""What a draw is where nothing is said of it."""
DRAWING = frozenset(only_with("do_sample"))
PLAIN = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE, GenerationMode.ASSISTED_GENERATION)
DRAWN = (GenerationMode.SAMPLE, GenerationMode.BEAM_SAMPLE, GenerationMode.ASSISTED_GENERATION)


def gather_own(asked: Gathering, body: OwnFields) -> None:
    """What stands in the body or in its configuration by a name that is ours. Raises InvalidRequest."""
    for name, value in body.set_fields().items():
        if name not in OWN_MEANING:
            asked.put(PREFIX + name, value, name)
    if body.top_k is not None:
        asked.put(f"{PREFIX}top_k", max(0, body.top_k), "top_k")
    if body.generation_config is not None:
        for name, value in body.generation_config.set_fields().items():
            asked.put(PREFIX + name, value, PREFIX + name)
    gather_beside(asked, body)
    asked.put("stream", body.stream, "stream")


def gather_beside(asked: Gathering, body: Beside, outer: str = "") -> None:
    """What stands beside a configuration. outer: what the client's paths to it begin with. Raises InvalidRequest."""
    for name in Beside.model_fields:
        if name != "outputs":
            asked.put(name, getattr(body, name), outer + name)
    if body.outputs is not None:
        for name in Outputs.model_fields:
            asked.put(f"outputs.{name}", getattr(body.outputs, name), f"{outer}outputs.{name}")


def names_end(asked: Gathering) -> bool:
    """Whether the client says how long it goes on, if at all."""
    return any(asked.get(place) is not None for place in (MAX_NEW_TOKENS, MAX_LENGTH, PROMPT_ONLY))


def decide_stop_string(asked: Gathering, name: str) -> None:
    """A stop string is no part of the text unless it is asked for. name: of the client's field that gives them."""
    if asked.get("outputs.include_stop_string") is None:
        asked.settle("outputs.include_stop_string", False, name)


def decide_drawing(asked: Gathering, body: OwnFields, file: GenerationConfig) -> None:
    """Whether tokens are drawn, and from which.

    Temperature 0 draws none, and `do_sample` always wins. Else a request that asks for another mode than the plain ones
    and says nothing of drawing draws none, as `generate()` would not; where the model's file alone asks for such a
    mode, it also says whether to draw. Everything else draws as the API does.
    """
    if body.temperature == 0:
        asked.put(DO_SAMPLE, False, "temperature")
    else:
        asked.put(f"{PREFIX}temperature", body.temperature, "temperature")
    if asked.get(DO_SAMPLE) is None and (is_drawn := draws(asked, body, file)) is not None:
        asked.settle(DO_SAMPLE, is_drawn, "do_sample")
    if asked.get(DO_SAMPLE):
        for name, value in (("top_k", file.top_k), *FROM_ALL.items()):
            if value is not None and asked.get(PREFIX + name) is None:
                asked.settle(PREFIX + name, value, name)


def draws(asked: Gathering, body: OwnFields, file: GenerationConfig) -> bool | None:
    """What a request without `do_sample` means; None: what the model's file says."""
    said = {name for name in DRAWING if asked.get(PREFIX + name) is not None}
    if asked.get(f"{PREFIX}penalty_alpha"):
        said.discard("top_k")  # the number of candidates there
    if said:
        return True
    if body.mode is not None:
        return body.mode in DRAWN
    if body.force_words or mode_with(asked, GenerationConfig()) not in PLAIN:
        return False
    return True if mode_with(asked, file) in PLAIN else None


def mode_with(asked: Gathering, file: GenerationConfig) -> GenerationMode:
    """The mode that would run after a model's file."""
    own = GenerationConfig().model_copy(update=asked.within(PREFIX.removesuffix(".")))
    return mode_of(merge(own, file, prompt_len=1, context_len=None), asked.get("assistant_model"))
