"""What a request may cost, checked before anything is computed: bytes of answer, things to build, time of its steps.

Each of these is a product of what a request asks, so that a body of a few bytes can stand for minutes of everybody's
time. The limits are the server's settings; the weights here are measured by `python -m benchmarks.budget`.
What one row costs anyway, such as a pass over its vocabulary, is no part of this: `max_rows` bounds it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beamhouse.schemas.generation.model_rules import PREFIX
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig
from beamhouse.schemas.judge.asked import Asked, Facts
from beamhouse.schemas.judge.budget_items import num_ids, num_items, num_phrases
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode

TENSOR_FIELDS = ("output_scores", "output_logits", "output_hidden_states", "output_attentions")

NUMBER_BYTES = {"json": 20.0, "base64": 16 / 3, "safetensors": 4.0}
"""Bytes of a float32 number in each form of tensors."""

TOKEN_BYTES = 16
EVENT_BYTES = 96
TOP_TOKEN_BYTES = 72
SCORE_BYTES = 21
FLAG_BYTES = 6
LIVE_TOKEN_BYTES = 12
"""Bytes of JSON: a token with its text in an answer; a token's event; one of the likeliest tokens; a score; a flag; a
token of a live hypothesis in a progress event."""

FORCED_NS = 500
STOPPABLE_NS = 6_000
REGISTERED_NS = 25_000
TOP_TOKEN_NS = 4_000
LENGTH_NS = 10_000
CANDIDATE_NS = 10_000
"""Nanoseconds of a step: a phrase that may go on, for each beam, without and with stop strings or criteria; a call of a
registered processor; one of the likeliest tokens; for each row a length of phrases that may all be in place at once; a
continuation that a beam search looks at one by one."""

REGISTERED_ENTRY_NS = 5.0
SYNTHID_ENTRY_NS = 6.0
SYNTHID_GATHERED_NS = 40.0
SELFHASH_ENTRY_NS = 100.0
DOLA_ENTRY_NS = 25.0
"""Nanoseconds of a step for each entry of the vocabulary and each row: a registered processor; a key of SynthID whose
table has a power of two as its size; one of any other size; selfhash; a layer of DoLa."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one field costs. given: its number, in whose proportion the cost grows; None where it has none."""

    field: str
    cost: float
    given: int | None = None


def find_expenses(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """One for each limit that a request exceeds, at the field that costs most."""
    budget = facts.budget
    yield from _problem(answer_charges(asked), budget.max_answer_bytes, "up to {:.0f} bytes of answer and events")
    yield from _problem(build_charges(asked), budget.max_build_items, "{:.0f} token ids and phrases to prepare")
    yield from _problem(
        step_charges(asked, facts), budget.max_step_ms, "{:.0f} ms of every step, beside the pass through the model"
    )
    yield from tensor_problems(asked, facts)


def _problem(charges: Iterable[Charge], limit: float, what: str) -> Iterator[Problem]:
    known = [charge for charge in charges if charge.cost]
    total = sum(charge.cost for charge in known)
    if total <= limit:
        return
    worst = max(known, key=lambda charge: charge.cost)
    name = worst.field.removeprefix(PREFIX).removeprefix("outputs.")
    message = f"{name} asks for {what.format(worst.cost)}"
    if len(known) > 1:
        message += f", the whole request for {total:.0f}"
    message += f"; allowed: at most {limit}"
    if worst.given:
        most = max(0, int(worst.given * (limit - total + worst.cost) / worst.cost))
        message += f", which is {most} instead of {worst.given} here" if most else ", less than one here"
    yield Problem(worst.field, ProblemCode.OUT_OF_RANGE, message + " (fewer tokens, sequences or prompts cost less)")


def answer_charges(asked: Asked) -> Iterator[Charge]:
    """Bytes of JSON: of the answer, and where it is streamed of the events before it."""
    outputs, rows = asked.outputs, asked.config.num_return_sequences
    num_tokens = sum(asked.num_new) * rows
    times = 2 if asked.body.stream else 1  # what is streamed stands in the last event once more
    top = outputs.top_n_tokens or 0
    token_bytes = TOKEN_BYTES + (EVENT_BYTES if asked.body.stream else 0)
    longest = max(asked.num_new, default=0)
    if rows > 1:
        yield Charge(f"{PREFIX}num_return_sequences", num_tokens * token_bytes, rows)
    else:
        name = "max_length" if asked.config.max_new_tokens is None else "max_new_tokens"
        yield Charge(PREFIX + name, num_tokens * token_bytes, longest)
    yield Charge("outputs.top_n_tokens", num_tokens * top * TOP_TOKEN_BYTES * times, top)
    yield Charge("outputs.transition_scores", num_tokens * SCORE_BYTES * times if outputs.transition_scores else 0)
    yield Charge("outputs.watermark_flags", num_tokens * FLAG_BYTES if outputs.watermark_flags else 0)
    likely = outputs.prompt_top_n_tokens or 0
    yield Charge("outputs.prompt_top_n_tokens", sum(asked.prompt_lens) * likely * TOP_TOKEN_BYTES, likely)
    yield Charge("outputs.prompt_logprobs", sum(asked.prompt_lens) * SCORE_BYTES if outputs.prompt_logprobs else 0)
    if outputs.progress and asked.config.mode.spec.is_search:
        beams = asked.config.num_beams
        live = sum(length * (length + 1) // 2 for length in asked.num_new)  # each event holds whole hypotheses
        yield Charge("outputs.progress", beams * (live * LIVE_TOKEN_BYTES + sum(asked.num_new) * EVENT_BYTES))


def build_charges(asked: Asked) -> Iterator[Charge]:
    """Token ids and phrases that are checked, sent and made into tables, each once for all prompts."""
    for field, number in num_items(asked.config).items():
        yield Charge(PREFIX + field, number, number)
    allowed = asked.body.prefix_allowed_tokens
    if allowed is not None:
        number = num_ids(allowed.token_ids or allowed.sequences or [])
        yield Charge("prefix_allowed_tokens", number * len(asked.configs), number)


def in_step(field: str, nanoseconds: float, given: int | None = None) -> Charge:
    return Charge(field, nanoseconds / 1e6, given)


def step_charges(asked: Asked, facts: Facts) -> Iterator[Charge]:
    """Milliseconds of a step in which all rows that fit are this request's."""
    config = asked.config
    rows = min(facts.info.max_rows, asked.num_scored * len(asked.configs))
    if asked.config.mode is GenerationMode.ASSISTED_GENERATION:
        rows = asked.num_scored * len(asked.configs)
    vocabulary = rows * facts.info.vocab_size

    yield from beam_charges(asked, rows)
    lengths = num_lengths(config)
    yield in_step(f"{PREFIX}bad_words_ids", rows * lengths * LENGTH_NS, lengths)
    registered = len(asked.body.logits_processor or ())
    one = rows * REGISTERED_NS + vocabulary * REGISTERED_ENTRY_NS
    yield in_step("logits_processor", registered * one, registered)
    top = asked.outputs.top_n_tokens or 0
    yield in_step("outputs.top_n_tokens", rows * top * TOP_TOKEN_NS, top)
    mark = config.watermarking_config
    if isinstance(mark, SynthIDTextWatermarkingConfig):
        size = mark.sampling_table_size
        entry_ns = SYNTHID_GATHERED_NS if size & (size - 1) else SYNTHID_ENTRY_NS
        kept = config.top_k if config.do_sample and config.top_k else facts.info.vocab_size
        entries = rows * min(kept, facts.info.vocab_size)
        yield in_step(f"{PREFIX}watermarking_config.keys", entries * len(mark.keys) * entry_ns, len(mark.keys))
    elif isinstance(mark, WatermarkingConfig) and mark.seeding_scheme == "selfhash":
        yield in_step(f"{PREFIX}watermarking_config.seeding_scheme", vocabulary * SELFHASH_ENTRY_NS)
    if isinstance(config.dola_layers, list):
        layers = len(set(config.dola_layers))
        yield in_step(f"{PREFIX}dola_layers", layers * vocabulary * DOLA_ENTRY_NS, layers)


def beam_charges(asked: Asked, rows: int) -> Iterator[Charge]:
    """What hypotheses take to look at: phrases that may go on, and a candidate more for each end token."""
    config = asked.config
    if not config.mode.spec.is_search:
        return
    forced = num_phrases(config, ("constraints", "force_words_ids"))
    is_stoppable = bool(config.stop_strings or asked.body.stopping_criteria)
    phrase_ns = STOPPABLE_NS if is_stoppable else FORCED_NS
    looked_at = rows * min(forced, config.num_beams)
    yield in_step(f"{PREFIX}force_words_ids", rows * forced * phrase_ns + looked_at * CANDIDATE_NS, forced)
    ends = len(config.eos_token_id) if isinstance(config.eos_token_id, list) else 0
    yield in_step(f"{PREFIX}eos_token_id", rows * ends * CANDIDATE_NS, ends)


def num_lengths(config: Resolved) -> int:
    """How many phrases of one field can be in place at once: as many as they have lengths, one token aside."""
    words = (config.bad_words_ids or (), [phrase for phrase, _ in config.sequence_bias or ()])
    return sum(len({len(phrase) for phrase in phrases} - {1}) for phrases in words)


def tensor_bytes(asked: Asked, facts: Facts) -> dict[str, int]:
    """The most bytes that each `output_*` field can add to the answer, all prompts together.

    A step of one new token feeds one token; the first step feeds the prompt. With the widths of the model unknown,
    hidden states and attentions count as nothing here and are measured when they arrive.
    """
    config, outputs = asked.config, asked.outputs
    num_layers = facts.info.num_layers if outputs.layers is None else len(set(outputs.layers))
    num_states = facts.info.num_layers + 1 if outputs.layers is None else len(set(outputs.layers))
    numbers = dict.fromkeys(TENSOR_FIELDS, 0)
    returned = config.num_return_sequences
    score_rows = max(config.num_beams, returned)
    chosen = None if outputs.positions is None else sorted(outputs.positions)
    for num_new, prompt_len in zip(asked.num_new, asked.prompt_lens, strict=True):
        kept = range(num_new) if chosen is None else chosen[: bisect_left(chosen, num_new)]
        has_first = bool(kept) and kept[0] == 0
        num_fed = len(kept) + (prompt_len - 1 if has_first else 0)
        num_pairs = len(kept) * prompt_len + sum(kept) + (prompt_len * (prompt_len - 1) if has_first else 0)
        numbers["output_scores"] += len(kept) * score_rows * facts.info.vocab_size
        numbers["output_logits"] += len(kept) * score_rows * facts.info.vocab_size
        numbers["output_hidden_states"] += num_states * returned * num_fed * facts.info.hidden_size
        numbers["output_attentions"] += num_layers * returned * facts.info.num_heads * num_pairs
    size = NUMBER_BYTES[outputs.tensors or "json"]
    return {field: round(number * size) if getattr(config, field) else 0 for field, number in numbers.items()}


def tensor_problems(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Whether the tensors that are asked for stay within the limit of one answer, all prompts together."""
    sizes, limit = tensor_bytes(asked, facts), facts.budget.max_tensor_bytes
    if sum(sizes.values()) > limit:
        field = max(sizes, key=lambda name: sizes[name])
        message = (
            f"{field} would return up to {sizes[field]} bytes, and all tensors {sum(sizes.values())}; allowed: at most "
            f"{limit} (fewer new tokens, outputs.positions and outputs.layers make it smaller)"
        )
        yield Problem(f"{PREFIX}{field}", ProblemCode.OUT_OF_RANGE, message)
