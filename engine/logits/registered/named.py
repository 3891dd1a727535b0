"""The registered logits processors a request names."""

import torch
from torch import Tensor

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.registered.registry import LogitsProcessor, Registry
from beamhouse.engine.logits.rows import Rows, token_array
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row

FIELD = "logits_processor"


class Registered(Processor):
    """Call the named processors in turn, each on its own copy of one row. What one raises fails that request alone."""

    name = FIELD
    reads = frozenset()
    equals = ""
    instances = Slot[list[tuple[str, LogitsProcessor]]](name)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def applies(self, request: Request) -> bool:
        return bool(request.submission.logits_processor)

    def prepare(self, request: Request, vocab_size: int) -> None:
        request.memory[self.instances] = self._registry.build_processors(request, vocab_size)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        for place, row in enumerate(rows):
            try:
                scores[place] = self._call(row, scores[place][None])[0]
            except RequestFailed as failure:
                row.request.fail(str(failure))
        return scores

    def _call(self, row: Row, scores: Tensor) -> Tensor:
        """scores: (1, V)"""
        input_ids = torch.from_numpy(token_array(row.sequence)).to(scores.device)[None]  # (1, L)
        for name, processor in row.request.memory[self.instances]:
            try:
                result = processor(input_ids.clone(), scores.clone())
            except Exception as error:  # foreign code may raise anything
                raise RequestFailed(f"{FIELD} {name}: {type(error).__name__}: {str(error)[:300]}") from error
            if not isinstance(result, Tensor) or result.shape != scores.shape:
                shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
                raise RequestFailed(f"{FIELD} {name} returned {shape} instead of scores of shape {tuple(scores.shape)}")
            scores = result.detach().to(scores)
        return scores
