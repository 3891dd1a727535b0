"""What a request asked to see beside its tokens: transition scores, alternatives, scores, logits, hidden states."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from beamhouse.engine.link.messages import LikelyTokens, TensorPiece, TopToken, Wanted
from beamhouse.engine.logits.sparse_scores import largest
from beamhouse.engine.state.batch import KeptRow
from beamhouse.engine.state.request import Request, Sequence
from beamhouse.schemas.generation.resolved import Resolved

FIELDS = frozenset(
    {"output_scores", "output_logits", "output_hidden_states", "output_attentions", "return_dict_in_generate"}
)
"""The GenerationConfig fields obeyed here."""

POSITIONS = 16
"""Positions of a prompt whose logits are normalised at once, so that no second copy of all of them is made."""

DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16", torch.int64: "int64"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What some tokens were chosen from. logits, scores: (n, V), before and after the processors.

    are_logprobs: whether the scores are what a beam search adds up, so that they stand for themselves unless normalised
    ones are asked for. Logits are always normalised where nobody says.
    """

    logits: Tensor
    scores: Tensor
    are_logprobs: bool = False

    def told(self, wanted: Wanted) -> Tensor:
        """What is told of, (n, V)."""
        return self.logits if wanted.raw else self.scores

    def normalized(self, wanted: Wanted) -> Tensor:
        """Log-probabilities of what is told of, (n, V).

        `compute_transition_scores` sums up along columns, one by one: fifty times as long, and no closer to the truth.
        """
        return self.told(wanted).log_softmax(-1)


def token_scores(wanted: Wanted, token_ids: list[int], given: Chosen) -> list[float | None]:
    """The transition score of each token, if asked for; -inf is None."""
    if not wanted.transition_scores:
        return []
    stand_alone = given.are_logprobs and not wanted.raw
    is_normalized = not stand_alone if wanted.normalize_logits is None else wanted.normalize_logits
    chosen = given.normalized(wanted) if is_normalized else given.told(wanted)
    picked = chosen[torch.arange(len(token_ids)), torch.tensor(token_ids, dtype=torch.int64)]
    return [value if value > -torch.inf else None for value in picked.tolist()]


def top_tokens(wanted: Wanted, given: Chosen) -> list[list[TopToken]]:
    """The likeliest tokens of each position, if asked for."""
    if not wanted.top_n_tokens:
        return []
    logprobs = given.normalized(wanted)
    best = logprobs.topk(min(wanted.top_n_tokens, logprobs.shape[-1]))
    return [
        [TopToken(token, value) for token, value in zip(tokens, values, strict=True) if value > -torch.inf]
        for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def positions_of(wanted: Wanted, num_steps: int) -> list[int]:
    """The steps asked for, of those there were."""
    return (
        list(range(num_steps)) if wanted.positions is None else [step for step in wanted.positions if step < num_steps]
    )


def keeps_rows(config: Resolved) -> bool:
    """Whether the rows of scores are to be kept for the answer."""
    return bool(config.output_scores or config.output_logits)


@dataclass(slots=True)
class Trace:
    """Collects one request's records. scores, logits: rows, (V,) each, by generated position and by row."""

    wanted: Wanted
    config: Resolved
    scores: dict[int, dict[int, Tensor]] = field(default_factory=dict)
    logits: dict[int, dict[int, Tensor]] = field(default_factory=dict)
    num_positions: int = 0
    prompt_logprobs: list[float | None] = field(default_factory=list)
    _likely: tuple[Tensor, Tensor] | None = None

    def record_prompt(self, sequence: Sequence, start: int, logits: Tensor) -> None:
        """Keep the log-probabilities of the prompt tokens that follow positions `start`, `start` + 1, ..., and the
        likeliest there if asked for. No more than some positions are normalised at once.

        logits: (n, V) float32, of the fed positions.
        """
        if len(self.prompt_logprobs) >= sequence.num_prompt:
            return
        end = min(start + len(logits), sequence.num_prompt - 1)
        following = torch.tensor(sequence.token_ids[start + 1 : end + 1], device=logits.device)
        if not self.prompt_logprobs:
            self.prompt_logprobs.append(None)
            self._likely = self._room(sequence.num_prompt - 1, logits)
        parts: list[Tensor] = []
        for at in range(0, len(following), POSITIONS):
            ids = following[at : at + POSITIONS]
            rows = logits[at : at + len(ids)].log_softmax(-1)
            parts.append(rows.gather(1, ids[:, None])[:, 0])
            self._keep_likely(start + at, rows)
        del self.prompt_logprobs[start + 1 :]
        self.prompt_logprobs.extend(torch.cat(parts).tolist() if parts else [])

    def _room(self, num_positions: int, logits: Tensor) -> tuple[Tensor, Tensor] | None:
        """For the log-probabilities and ids of the likeliest tokens of so many positions, (positions, n) each."""
        width = min(self.wanted.prompt_top_n_tokens, logits.shape[-1])
        if not width:
            return None
        return logits.new_empty(num_positions, width), logits.new_empty(num_positions, width, dtype=torch.int64)

    def _keep_likely(self, start: int, logprobs: Tensor) -> None:
        """logprobs: (n, V), of positions from `start` on, again for those that are computed again."""
        if self._likely is not None:
            kept, width = slice(start, start + len(logprobs)), self._likely[0].shape[1]
            self._likely[0][kept], self._likely[1][kept] = largest(logprobs, width)

    @property
    def prompt_top_tokens(self) -> LikelyTokens | None:
        """As they are told, once the whole prompt was fed."""
        if self._likely is None:
            return None
        logprobs, token_ids = self._likely
        return LikelyTokens(encode_tensor(token_ids), encode_tensor(logprobs))

    def record(self, row: KeptRow) -> None:
        """Keep a row of logits and scores, as far as it is asked for."""
        self.num_positions = max(self.num_positions, row.position + 1)
        if self.wanted.positions is not None and row.position not in self.wanted.positions:
            return
        # Copies: a view would keep the rows of the whole batch.
        if self.config.output_scores:
            self.scores.setdefault(row.position, {})[row.index] = row.scores.to("cpu", copy=True)
        if self.config.output_logits:
            self.logits.setdefault(row.position, {})[row.index] = row.logits.to("cpu", copy=True)

    def tensors(self, request: Request, vocab_size: int) -> dict[str, TensorPiece]:
        """The rows that were kept, once all sequences have ended."""
        shape = (request.num_score_rows, vocab_size)
        named: dict[str, Tensor] = {}
        if self.config.output_scores:
            named["scores"] = self._stacked(self.scores, shape)
        if self.config.output_logits:
            named["logits"] = self._stacked(self.logits, shape)
        return {name: encode_tensor(tensor) for name, tensor in named.items()}

    def _stacked(self, steps: dict[int, dict[int, Tensor]], shape: tuple[int, int]) -> Tensor:
        """(positions, R, V), NaN where a row had ended. shape: R and V."""
        kept = positions_of(self.wanted, self.num_positions)
        out = torch.full((len(kept), *shape), torch.nan)
        for place, step in enumerate(kept):
            for index, row in steps.get(step, {}).items():
                out[place, index] = row
        return out


def encode_tensor(tensor: Tensor) -> TensorPiece:
    tensor = tensor.contiguous().cpu()
    return TensorPiece(DTYPES[tensor.dtype], list(tensor.shape), tensor.flatten().view(torch.uint8).numpy().tobytes())
