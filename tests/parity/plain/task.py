"""What a plain search is asked, and what it sees of the model."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessorList

from tests.parity.allowing import Allowed
from tests.parity.models import reference
from tests.parity.occurrences import penalized
from tests.parity.running import library_config

LEFT_OUT = {
    "penalty_alpha", "dola_layers", "guidance_scale", "num_return_sequences", "num_beam_groups", "diversity_penalty",
    "constraints", "force_words_ids", "prompt_lookup_num_tokens", "assistant_early_exit",
}  # fmt: skip
"""Fields that lead the library to a mode, of which it is asked for the processors alone."""


@dataclass(slots=True)
class Found:
    """A sequence's new tokens, and the rows of logits and scores each was chosen from, (V,).

    num_drafted, num_accepted: of tokens that were drafted.
    """

    token_ids: list[int] = field(default_factory=list)
    logits: list[torch.Tensor] = field(default_factory=list)
    scores: list[torch.Tensor] = field(default_factory=list)
    num_drafted: int = 0
    num_accepted: int = 0


@dataclass(slots=True)
class Task:
    """What is asked. negative: the ids guidance leads away from. allowed: `prefix_allowed_tokens_fn`."""

    family: str
    prompt_ids: list[int]
    fields: dict[str, Any]
    num_new: int
    negative: list[int] | None = None
    allowed: Allowed | None = None

    @property
    def ends(self) -> set[int]:
        ends = self.fields.get("eos_token_id", reference(self.family).generation_config.eos_token_id)
        return {ends} if isinstance(ends, int) else set(ends)

    @property
    def pad(self) -> int:
        return int(self.fields.get("pad_token_id", reference(self.family).generation_config.pad_token_id))

    @property
    def vocab_size(self) -> int:
        return int(reference(self.family).config.vocab_size)

    def look(self, rows: list[list[int]]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """The logits of rows of equal length, (R, L, V), and their hidden states in all layers, (R, L, d) each."""
        with torch.inference_mode():
            out = reference(self.family)(torch.tensor(rows), output_hidden_states=True, use_cache=False)
        return out.logits.float(), out.hidden_states

    def processed(
        self,
        rows: list[list[int]],
        logits: torch.Tensor,
        processors: LogitsProcessorList,
        penalty: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The scores of what follows each row, (R, V). penalty: taken off before the processors act."""
        scale = self.fields.get("guidance_scale")
        if scale is not None:
            opposite = [(self.negative or self.prompt_ids[-1:]) + row[len(self.prompt_ids) :] for row in rows]
            away = self.look(opposite)[0][:, -1].log_softmax(-1)
            logits = scale * (logits.log_softmax(-1) - away) + away
        if penalty is not None:
            logits = logits - penalty
        scores: torch.Tensor = processors(torch.tensor(rows), logits.clone())
        return scores

    def processors(self, given: LogitsProcessorList | None = None) -> LogitsProcessorList:
        """The library's own and ours, but for guidance, with a memory of their own. given: as `logits_processor`."""
        found: list[LogitsProcessorList] = []

        def keep(
            model: Any, input_ids: torch.Tensor, logits_processor: LogitsProcessorList, **rest: Any
        ) -> torch.Tensor:
            found.append(logits_processor)
            return input_ids

        known = {name: value for name, value in self.fields.items() if name not in LEFT_OUT}
        if not known.get("do_sample"):
            known.pop("top_k", None)
        with penalized(self.family, self.fields, len(self.prompt_ids)):
            reference(self.family).generate(
                torch.tensor([self.prompt_ids]),
                generation_config=library_config(known | {"max_new_tokens": self.num_new}),
                prefix_allowed_tokens_fn=self.allowed,
                logits_processor=given,
                custom_generate=keep,
            )
        return found[0]
