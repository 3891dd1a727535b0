"""What the library answers to a random request, where it can be asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoTokenizer

from beamhouse.engine.decoding.dola import candidate_layers
from beamhouse.engine.decoding.strategy import ModelFacts
from tests.fuzz.requests import Asked
from tests.parity.allowing import Allowed, callable_of
from tests.parity.drafting import generate_assisted
from tests.parity.models import BUILTIN, reference
from tests.parity.occurrences import penalized
from tests.parity.plain.beams import UNREACHED, Hypothesis
from tests.parity.plain.constrained import constrained_beam_search
from tests.parity.plain.contrastive import contrastive
from tests.parity.plain.dola import dola
from tests.parity.plain.groups import group_beam_search
from tests.parity.plain.task import Task
from tests.parity.running import library_config, until_end

_DRAFTING = ("lookup", "drafted", "own layers")
_SEARCHES = {"groups": group_beam_search, "constrained": constrained_beam_search}
_PLAIN = ("contrastive", "dola", *_SEARCHES)
_CUTS = {"top_p", "top_h", "typical_p"}

NOTHING = Hypothesis([], UNREACHED, [])
"""What stands where a search found too little."""

UNITS = 16
"""So many units in the last place of the largest logit may lie between two right answers: sums in another order."""


@dataclass(frozen=True, slots=True)
class Expected:
    """token_ids: by sequence. totals: `sequences_scores` of a search. pad: what fills up rows that end before others.

    is_hopeless: a row had nothing to choose from, or a search found nothing that its constraint allows.
    """

    token_ids: list[list[int]]
    totals: list[float] = field(default_factory=list)
    is_hopeless: bool = False
    pad: int | None = None


def why_not(asked: Asked) -> str | None:
    """Why the library's answer is none to compare with; `docs/parity.md` has the whole story."""
    fields, mark = asked.fields, asked.fields.get("watermarking_config", {})
    is_drafting, num_rows = (
        asked.mode in _DRAFTING,
        max(fields.get(name, 1) for name in ("num_beams", "num_return_sequences")),
    )
    reasons = {
        "what is ruled out is not written out": asked.mode in _SEARCHES and "constraint" in asked.outside,
        "equal ends are left to chance": asked.mode in _SEARCHES
        and isinstance(fields.get("forced_eos_token_id"), list),
        "it guides one row": "guidance_scale" in fields
        and (is_drafting or (num_rows > 1 and asked.mode not in _SEARCHES)),
        "its SynthID does not follow beams": "keys" in mark and fields.get("num_beams", 1) > 1,
        "its drafts are not marked": is_drafting and bool(mark),
        "it looks behind arbitrary cuts": asked.mode == "lookup" and bool(_CUTS & fields.keys()),
        "its cuts part what a constraint has tied": asked.mode == "dola"
        and "constraint" in asked.outside
        and bool(_CUTS & fields.keys()),
        "it goes on behind stop strings": "stop_strings" in fields and asked.mode in (*_DRAFTING, *_PLAIN),
        "hidden positions are not written out": asked.mode in _PLAIN
        and asked.outside.get("num_negative_masked", 0) > 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def expected_of(asked: Asked, family: str) -> Expected:
    """The library's answer. Raises whatever it raises."""
    ends = ends_of(asked, family)
    if asked.mode in _SEARCHES:
        hypotheses = _SEARCHES[asked.mode](_task(asked, family))
        hypotheses += [NOTHING] * (asked.fields.get("num_return_sequences", 1) - len(hypotheses))
        return Expected([one.token_ids for one in hypotheses], [one.score for one in hypotheses])
    if asked.mode in _PLAIN:
        task, seed = _task(asked, family), asked.outside["seed"]
        found = [contrastive(task)] if asked.mode == "contrastive" else dola(task, _layers(asked, family), seed)
        scores = torch.stack([row for one in found for row in one.scores])
        return Expected([one.token_ids for one in found], is_hopeless=_is_hopeless(scores))
    if asked.mode in ("drafted", "own layers"):
        token_ids, scores = generate_assisted(
            family, asked.prompt_ids, asked.fields, asked.outside["seed"],
            with_model=asked.mode == "drafted", **_more(asked, family),
        )  # fmt: skip
        return Expected([until_end(token_ids, ends)], is_hopeless=_is_hopeless(scores))
    # Where nothing ends the library's searches take padding by id 0 for none.
    pad = reference(family).generation_config.pad_token_id if ends else 1
    torch.manual_seed(asked.outside["seed"])
    prompt = torch.tensor([asked.prompt_ids])
    with torch.inference_mode(), penalized(family, asked.fields, len(asked.prompt_ids)):
        out = reference(family).generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=library_config(asked.fields | {"pad_token_id": pad}),
            **_more(asked, family),
        )
    rows, scores = out.sequences[:, prompt.shape[1] :].tolist(), torch.stack(out.scores)
    if asked.fields.get("num_beams", 1) == 1:
        return Expected([until_end(row, ends) for row in rows], [], _is_hopeless(scores), pad)
    lengths, totals = (out.beam_indices >= 0).sum(-1).tolist(), out.sequences_scores.tolist()
    rows = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    has_found = max(totals) > -1e8 or "constraint" not in asked.outside
    return Expected(rows, totals, bool(scores.isnan().any()) or not has_found)


def ends_of(asked: Asked, family: str) -> list[int]:
    ends = asked.fields.get("eos_token_id", reference(family).generation_config.eos_token_id)
    return [ends] if isinstance(ends, int) else list(ends)


@contextmanager
def shaken(family: str, seed: int) -> Iterator[None]:
    """While this lasts the logits of the library's model are off by as much as the order of sums may move them."""
    generator = torch.Generator().manual_seed(seed)

    def shake(module: torch.nn.Module, given: Any, logits: torch.Tensor) -> torch.Tensor:
        reach = logits.abs().amax(-1, keepdim=True) * UNITS * 2**-23
        return logits + reach * (2 * torch.rand(logits.shape, generator=generator) - 1)

    handle = reference(family).get_output_embeddings().register_forward_hook(shake)
    try:
        yield
    finally:
        handle.remove()


def _is_hopeless(scores: torch.Tensor) -> bool:
    """Whether some row of scores, (..., V), has nothing that can be chosen."""
    return not bool(scores.amax(-1).isfinite().all())


def _more(asked: Asked, family: str) -> dict[str, Any]:
    """What `generate()` takes beside its configuration."""
    more: dict[str, Any] = {"prefix_allowed_tokens_fn": _allowed(asked, family)}
    negative = asked.outside.get("negative_prompt_ids")
    if negative is not None:
        masked = asked.outside["num_negative_masked"]
        more["negative_prompt_ids"] = torch.tensor([[0] * masked + negative])
        more["negative_prompt_attention_mask"] = torch.tensor([[0] * masked + [1] * len(negative)])
    if "stop_strings" in asked.fields:
        more["tokenizer"] = AutoTokenizer.from_pretrained(BUILTIN)
    return more


def _allowed(asked: Asked, family: str) -> Allowed | None:
    constraint = asked.outside.get("constraint")
    if constraint is None:
        return None
    return callable_of(constraint, len(asked.prompt_ids), ends_of(asked, family), reference(family).config.vocab_size)


def _task(asked: Asked, family: str) -> Task:
    fields = {name: value for name, value in asked.fields.items() if name != "max_new_tokens"}
    negative = asked.outside.get("negative_prompt_ids")
    return Task(family, asked.prompt_ids, fields, asked.fields["max_new_tokens"], negative, _allowed(asked, family))


def _layers(asked: Asked, family: str) -> list[int]:
    config = reference(family).config
    facts = ModelFacts(config.num_hidden_layers, bool(config.tie_word_embeddings))
    return list(candidate_layers(asked.fields["dola_layers"], facts))
