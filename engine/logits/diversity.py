"""What keeps the groups of a diverse beam search apart."""

import torch
from torch import Tensor

from engine.logits.processor import Processor
from engine.logits.rows import Rows
from engine.request import Request, Row


class HammingDiversity(Processor):
    """Take `diversity_penalty` from a token's score for each row of an earlier group that took it in this step.

    Source: arXiv:1610.02424. Equals transformers.HammingDiversityLogitsProcessor of 4.x.
    """

    name = "diversity_penalty"
    reads = frozenset({"diversity_penalty"})
    equals = "HammingDiversityLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return (request.config.num_beam_groups or 1) > 1 and bool(request.config.diversity_penalty)

    def acts(self, row: Row) -> bool:
        return bool(row.taken)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        counts = torch.stack([torch.bincount(rows.ints(row.taken), minlength=scores.shape[1]) for row in rows])
        return scores - rows.column("diversity_penalty")[:, None] * counts
