"""What a request asked to see beside its tokens: transition scores, alternatives, scores, logits, hidden states."""

from dataclasses import dataclass, field

import torch

from engine.messages import Tensor, TopToken, Wanted
from engine.request import Request, Sequence
from engine.runners.runner import Runner
from schemas.generation import GenerationConfig

FIELDS = frozenset(
    {"output_scores", "output_logits", "output_hidden_states", "output_attentions", "return_dict_in_generate"}
)
"""The GenerationConfig fields obeyed here."""

DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16", torch.int64: "int64"}


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """Of one chosen token: its transition score and the likeliest tokens at its position, where asked for."""

    score: list[float | None]
    top_tokens: list[list[TopToken]]


@dataclass(slots=True)
class Trace:
    """Collects one request's records. scores, logits: rows, (V,) each, by step and by sequence index."""

    wanted: Wanted
    config: GenerationConfig
    scores: dict[int, dict[int, torch.Tensor]] = field(default_factory=dict)
    logits: dict[int, dict[int, torch.Tensor]] = field(default_factory=dict)
    num_steps: int = 0
    prompt_logprobs: list[float | None] = field(default_factory=list)

    @property
    def reads_scores(self) -> bool:
        return self.wanted.transition_scores or self.wanted.top_n_tokens > 0

    @property
    def keeps_rows(self) -> bool:
        return bool(self.config.output_scores or self.config.output_logits)

    def record_prompt(self, sequence: Sequence, start: int, logits: torch.Tensor) -> None:
        """Keep the log-probabilities of the prompt tokens that follow positions `start`, `start` + 1, ...

        logits: (n, V) float32, of the fed positions.
        """
        if len(self.prompt_logprobs) >= sequence.num_prompt:
            return
        end = min(start + len(logits), sequence.num_prompt - 1)
        following = torch.tensor(sequence.token_ids[start + 1 : end + 1], device=logits.device)
        logprobs = logits[: len(following)].log_softmax(-1).gather(1, following[:, None])[:, 0]
        if not self.prompt_logprobs:
            self.prompt_logprobs.append(None)
        del self.prompt_logprobs[start + 1 :]
        self.prompt_logprobs.extend(logprobs.tolist())

    def record_step(self, rows: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Keep logits and scores, (V,) each, of the rows of the next step, by sequence index, if it is asked for."""
        step, self.num_steps = self.num_steps, self.num_steps + 1
        if self.wanted.positions is not None and step not in self.wanted.positions:
            return
        # Copies: a view would keep the rows of the whole batch.
        if self.config.output_scores:
            self.scores[step] = {index: scores.to("cpu", copy=True) for index, (_, scores) in rows.items()}
        if self.config.output_logits:
            self.logits[step] = {index: logits.to("cpu", copy=True) for index, (logits, _) in rows.items()}

    def of_token(self, token_id: int, scores: torch.Tensor) -> TokenTrace:
        """scores: (V,) the processed scores the token was chosen from."""
        # As compute_transition_scores does it: along a column, which torch adds up in another order than a row.
        normalized = scores[:, None].log_softmax(0)[:, 0]  # (V,)
        chosen = normalized if self.wanted.normalize_logits else scores
        score = [_finite(float(chosen[token_id]))] if self.wanted.transition_scores else []
        top: list[list[TopToken]] = []
        if self.wanted.top_n_tokens:
            best = normalized.topk(min(self.wanted.top_n_tokens, len(normalized)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            top = [[TopToken(token, value) for token, value in pairs if value > -torch.inf]]
        return TokenTrace(score, top)

    def tensors(self, request: Request, runner: Runner) -> dict[str, Tensor]:
        """Everything the configuration's `output_*` fields ask for, once all sequences have ended."""
        shape = (request.config.num_return_sequences or 1, runner.vocab_size)
        named: dict[str, torch.Tensor] = {}
        if self.config.output_scores:
            named["scores"] = self._stacked(self.scores, shape)
        if self.config.output_logits:
            named["logits"] = self._stacked(self.logits, shape)
        named |= self._inspected(request, runner)
        return {name: _encode(tensor) for name, tensor in named.items()}

    def _stacked(self, steps: dict[int, dict[int, torch.Tensor]], shape: tuple[int, int]) -> torch.Tensor:
        """(steps, R, V), NaN where a row had ended. shape: R and V."""
        kept = self._positions(self.num_steps)
        out = torch.full((len(kept), *shape), torch.nan)
        for place, step in enumerate(kept):
            for index, row in steps[step].items():
                out[place, index] = row
        return out

    def _positions(self, num_steps: int) -> list[int]:
        """The steps asked for, of those there were."""
        asked = self.wanted.positions
        return list(range(num_steps)) if asked is None else [step for step in asked if step < num_steps]

    def _inspected(self, request: Request, runner: Runner) -> dict[str, torch.Tensor]:
        """Hidden states and attention maps, cut into the library's steps: the prompt, then one token each.

        The newest token was never fed, so the library has nothing for it, and neither has this.
        """
        hidden, attentions = bool(self.config.output_hidden_states), bool(self.config.output_attentions)
        if not (hidden or attentions):
            return {}
        sequences = sorted(request.ended, key=lambda sequence: sequence.index)
        passes = [
            runner.inspect(sequence.token_ids[:-1], hidden_states=hidden, attentions=attentions)
            for sequence in sequences
        ]
        num_steps = max(sequence.num_generated for sequence in sequences)
        named: dict[str, torch.Tensor] = {}
        for step in self._positions(num_steps):
            end = request.num_prompt + step
            start = end - 1 if step else 0
            for layer in self._layers(len(passes[0].hidden_states)):
                states = [inspected.hidden_states[layer] for inspected in passes]
                named[f"hidden_states.{step}.{layer}"] = torch.stack([_cut(state, start, end) for state in states])
            for layer in self._layers(len(passes[0].attentions)):
                maps = [_cut_map(inspected.attentions[layer], start, end) for inspected in passes]
                named[f"attentions.{step}.{layer}"] = torch.stack(maps)
        return named

    def _layers(self, num_layers: int) -> list[int]:
        if self.wanted.layers is None:
            return list(range(num_layers))
        return [layer % num_layers for layer in self.wanted.layers if -num_layers <= layer < num_layers]


def _cut(states: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """Positions start..end of (T, d), NaN past its end."""
    out = states.new_full((end - start, states.shape[1]), torch.nan)
    part = states[start:end]
    out[: len(part)] = part
    return out


def _cut_map(weights: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """Queries start..end over keys ..end of (H, T, T), NaN past its end."""
    out = weights.new_full((len(weights), end - start, end), torch.nan)
    if end <= weights.shape[1]:
        out[:] = weights[:, start:end, :end]
    return out


def _encode(tensor: torch.Tensor) -> Tensor:
    tensor = tensor.contiguous().cpu()
    return Tensor(DTYPES[tensor.dtype], list(tensor.shape), tensor.flatten().view(torch.uint8).numpy().tobytes())


def _finite(value: float) -> float | None:
    return value if value > -torch.inf else None
