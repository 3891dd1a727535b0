"""The tokens a constraint allows."""

import numpy as np
import torch
from torch import Tensor

from beamhouse.engine.link.errors import RequestFailed, invalid
from beamhouse.engine.logits.bad_rows import close, why_closed
from beamhouse.engine.logits.constraints.constraint import ALLOWANCE, CONSTRAINT, Constraints, is_complete
from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.state.memory import Memory
from beamhouse.engine.state.request import Request
from beamhouse.schemas.words import ProblemCode


class AllowedTokens(Processor):
    """Ban all but the allowed tokens; if that leaves a prompt without any token, earlier bans yield to the allowed set.

    Equals transformers.PrefixConstrainedLogitsProcessor, but for a row whose constraint allows nothing, at which the
    library raises: here it is closed.
    """

    name = CONSTRAINT
    reads = frozenset()
    equals = "PrefixConstrainedLogitsProcessor"

    def __init__(self, constraints: Constraints) -> None:
        self._constraints = constraints

    def applies(self, request: Request) -> bool:
        return request.submission.constraint is not None

    def prepare(self, request: Request, vocab_size: int) -> None:
        constraint = request.submission.constraint
        assert constraint is not None
        request.memory[ALLOWANCE] = self._constraints.compile(constraint)
        if is_complete(request, request.submission.prompt_ids, [], Memory()):
            message = "it allows the empty text alone, which ends by an end token; give eos_token_id"
            raise invalid(f"{CONSTRAINT}.{constraint.kind}", ProblemCode.CONFLICT, message)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        allowed = np.zeros(tuple(scores.shape), np.bool_)
        for row, mask in zip(rows, allowed, strict=True):
            try:
                why = row.request.memory[ALLOWANCE].mark(row, mask)
            except RequestFailed as failure:
                row.request.fail(str(failure))
            else:
                if why is not None:
                    close(row.sequence, f"{CONSTRAINT}: {why}")
        bias = torch.zeros_like(scores).masked_fill_(~torch.from_numpy(allowed).to(rows.device), -torch.inf)
        left = scores.add_(bias)
        is_dead = left.amax(-1).isneginf()  # (R,)
        groups = rows.ints(_groups(rows))
        num_alive = torch.zeros(len(rows), dtype=torch.int64, device=rows.device).index_add_(
            0, groups, (~is_dead).long()
        )
        return torch.where((num_alive[groups] == 0)[:, None], bias, left)


class DeadEnds(Processor):
    """Rule out everything behind a sequence whose constraint came to a dead end, whatever else was to follow it."""

    name = CONSTRAINT
    reads = frozenset()
    equals = ""

    def applies(self, request: Request) -> bool:
        return request.submission.constraint is not None

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        is_closed = [why_closed(row.sequence) is not None for row in rows]
        if not any(is_closed):
            return scores
        return scores.masked_fill_(torch.tensor(is_closed, device=rows.device)[:, None], -torch.inf)


def _groups(rows: Rows) -> list[int]:
    """Rows that live or die together: the beams of a request. Other rows stand alone. Numbered by the first of them."""
    first: dict[Request, int] = {}
    return [
        first.setdefault(row.request, place) if _is_search(row.request) else place for place, row in enumerate(rows)
    ]


def _is_search(request: Request) -> bool:
    return request.config.num_beams > 1
