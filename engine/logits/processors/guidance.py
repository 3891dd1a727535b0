"""Classifier-free guidance: the step away from what the model would say after a negative prompt."""

import torch
from torch import Tensor

from beamhouse.engine.link.messages import Submission
from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.state.request import Request, Row, Sequence


class Guidance(Processor):
    """scale x (c - u) + u, with c and u the log-probabilities after the prompt and after the negative prompt.

    Source: arXiv:2306.17806. Equals transformers.UnbatchedClassifierFreeGuidanceLogitsProcessor where that works: one
    row of a prompt, no drafts. Here every row has a shadow that holds its own tokens, whatever the mode.
    """

    name = "guidance_scale"
    reads = frozenset({"guidance_scale"})
    equals = "UnbatchedClassifierFreeGuidanceLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.is_guided

    def acts(self, row: Row) -> bool:
        return row.unconditional is not None

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        shadows = [row.unconditional for row in rows if row.unconditional is not None]
        unconditional = torch.stack(shadows).log_softmax(-1)  # (R, V)
        scale = rows.column("guidance_scale")[:, None]
        return scale * (scores.log_softmax(-1) - unconditional) + unconditional


def first_sequence(submission: Submission) -> Sequence:
    """The sequence a request begins with, and its shadow if it is guided.

    Without a negative prompt the shadow begins with the last token of the prompt, as in the library.
    """
    sequence = Sequence(list(submission.prompt_ids), num_prompt=len(submission.prompt_ids))
    if submission.config.is_guided:
        negative = submission.negative_prompt_ids or submission.prompt_ids[-1:]
        sequence.shadow = Sequence(list(negative), num_prompt=len(negative), num_masked=submission.num_negative_masked)
    return sequence
