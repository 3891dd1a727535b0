"""What keeps the groups of a diverse beam search apart."""

import numpy as np
import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.state.request import Request, Row


class HammingDiversity(Processor):
    """Take `diversity_penalty` from a token's score for each row of an earlier group that took it in this step.

    Source: arXiv:1610.02424. Equals transformers.HammingDiversityLogitsProcessor of 4.x.
    """

    name = "diversity_penalty"
    reads = frozenset({"diversity_penalty"})
    equals = "HammingDiversityLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.num_beam_groups > 1 and request.config.diversity_penalty != 0

    def acts(self, row: Row) -> bool:
        return bool(row.taken)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        found = [np.unique(row.taken, return_counts=True) for row in rows]
        at = rows.places([tokens for tokens, _ in found])
        counts = torch.from_numpy(np.concatenate([nums for _, nums in found])).to(rows.device)
        scores[at] -= rows.column("diversity_penalty")[at[0]] * counts
        return scores
