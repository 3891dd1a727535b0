"""DoLa: what the last layer says beyond an early one."""

from collections.abc import Sequence as Seq
from math import log
from typing import ClassVar

import torch

from beamhouse.engine.decoding.greedy import choose_best
from beamhouse.engine.decoding.sample import draw
from beamhouse.engine.decoding.strategy import ModelFacts, Scored, Step, Strategy, newest
from beamhouse.engine.link.errors import invalid
from beamhouse.engine.logits.sparse_scores import at_least, keep
from beamhouse.engine.state.batch import Advance
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.words import ProblemCode

LEAST_SHARE = 0.1
"""Tokens less probable than this share of the likeliest one's probability in the last layer are dropped."""

_FIELD = "generation_config.dola_layers"
_DEEP = 40
_SPAN = 20


class Dola(Strategy):
    """Greedy search or sampling over the contrast of the last layer with the candidate layer that differs most.

    Source: arXiv:2309.03883. Equals `generate()` of transformers 4.45 and 4.55 with `dola_layers` on a batch of one
    prompt; `logits` are those of the last layer. The library picks one layer for its whole batch, and answers with one
    sequence whatever `num_return_sequences`; here each row has its own layer, so that no answer depends on another, and
    all sequences are returned. Layers from the last one on are refused here, left out there. In two-byte types the
    early layers are compared in float32.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.DOLA_GENERATION
    reads: ClassVar[frozenset[str]] = frozenset({"dola_layers", "do_sample", "num_beams", "num_return_sequences"})

    def __init__(self, model: ModelFacts) -> None:
        self._model = model

    def prepare(self, request: Request) -> None:
        asked = request.config.dola_layers
        assert asked is not None, "the mode tells"
        request.read_hidden(candidate_layers(asked, self._model))

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        rows, logits = newest(requests, step)
        given = Scored(rows, logits, step.pipeline.process(rows, _contrasted(rows, logits, step)))
        advances: dict[Request, Advance] = {}
        for do_sample in (False, True):
            group = [request for request in requests if request.config.do_sample is do_sample]
            if group:
                own = _rows_of(given, set(group))
                advances |= draw(own, group, step) if do_sample else choose_best(own, step)
        return advances


def candidate_layers(asked: str | list[int], model: ModelFacts) -> tuple[int, ...]:
    """The layers that may be contrasted with; 0 is the embedding. Raises InvalidRequest.

    `low` and `high` are every other layer of the lower and the upper half, of 20 layers where there are more than 40.
    With tied embeddings the embedding itself says nothing but its token, so that `low` begins above it.
    """
    last = model.num_layers
    if isinstance(asked, list):
        return tuple(dict.fromkeys(asked))
    if asked == "high":
        return tuple(range(last // 2 if last <= _DEEP else last - _SPAN, last, 2))
    first = min(2, last - 1) if model.has_tied_embeddings else 0
    if first == last // 2:
        return (first,)
    layers = tuple(range(first, last // 2 if last <= _DEEP else _SPAN, 2))
    if not layers:
        text = f"dola_layers is low; a model of {last} layers with tied embeddings has no such layer"
        raise invalid(_FIELD, ProblemCode.NOT_SUPPORTED, text)
    return layers


def _contrasted(rows: Seq[Row], logits: torch.Tensor, step: Step) -> torch.Tensor:
    """The scores of the last layer less those of an early one. logits: (R, V); left alone."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(row.request.layers, []).append(place)
    contrasted = torch.empty_like(logits)
    for places in alike.values():
        hidden = torch.stack([step.forward.hidden[rows[place].sequence][:, -1] for place in places], dim=1)
        early = step.project(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])  # (layers, r, V)
        at = torch.tensor(places, device=logits.device)
        last = logits.index_select(0, at)
        contrasted.index_copy_(0, at, _contrast(last, early))
    return contrasted


def _contrast(last: torch.Tensor, early: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the last layer less those of the early one that differs most; improbable tokens are dropped.

    last: (r, V) logits. early: (layers, r, V) logits. Returns (r, V).
    """
    log_last, log_early = last.log_softmax(-1), early.log_softmax(-1)
    farthest = log_early[0] if len(early) == 1 else _farthest(last, log_last, early, log_early)
    is_kept = at_least(log_last, log_last.amax(-1, keepdim=True) + log(LEAST_SHARE))
    return keep(log_last - farthest, is_kept)


def _farthest(last: torch.Tensor, log_last: torch.Tensor, early: torch.Tensor, log_early: torch.Tensor) -> torch.Tensor:
    """The log-probabilities of the early layer that differs most, for each row by itself. (r, V)

    By the Jensen-Shannon divergence with the arguments of its two terms exchanged, as in the library.
    """
    probabilities, divergences = last.softmax(-1), []
    for logits, log_probs in zip(early, log_early, strict=True):
        middle = 0.5 * (probabilities + logits.softmax(-1))
        own = torch.xlogy(middle, middle)
        from_last, from_early = ((own - middle * one).mean(-1) for one in (log_last, log_probs))
        divergences.append(0.5 * (from_last + from_early))
    return log_early[torch.stack(divergences).argmax(0), torch.arange(len(last), device=last.device)]


def _rows_of(given: Scored, requests: set[Request]) -> Scored:
    """The rows of some requests."""
    places = [at for at, row in enumerate(given.rows) if row.request in requests]
    if len(places) == len(given.rows):
        return given
    at = torch.tensor(places, device=given.scores.device)
    logits, scores = (one.index_select(0, at) for one in (given.logits, given.scores))
    return Scored([given.rows[place] for place in places], logits, scores)
