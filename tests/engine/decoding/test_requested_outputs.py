"""What a trace keeps while a request runs."""

import torch

from beamhouse.engine.decoding.requested_outputs import Trace
from beamhouse.engine.link.messages import Wanted
from beamhouse.engine.state.batch import KeptRow
from beamhouse.schemas.generation.config import GenerationConfig

BATCH = torch.zeros(64, 8)  # (R, V)


def kept_by(wanted: Wanted) -> list[torch.Tensor]:
    trace = Trace(wanted, GenerationConfig(output_scores=True))
    for position in range(5):
        trace.record(KeptRow(position, 0, BATCH[3], BATCH[3]))
    return [tensor for step in trace.scores.values() for tensor in step.values()]


def test_a_kept_row_does_not_hold_on_to_its_batch() -> None:
    assert all(tensor.untyped_storage().nbytes() == 8 * 4 for tensor in kept_by(Wanted()))


def test_only_the_positions_asked_for_are_kept() -> None:
    assert len(kept_by(Wanted())) == 5
    assert len(kept_by(Wanted(positions=[1, 90]))) == 1
