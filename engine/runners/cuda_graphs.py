"""Steps of one token a row, recorded once for a few numbers of rows and played back without Python in between."""

from collections.abc import Callable
from collections.abc import Sequence as Seq

import torch

from beamhouse.engine.attention.block_tables import BufferLayout, StepNumbers, stage
from beamhouse.engine.state.batch import Feed

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of rows a step is recorded for; others are padded to the next."""

Compute = Callable[[StepNumbers], torch.Tensor]
"""The logits (R, V) of a step whose rows feed one token each."""
Recording = tuple[Callable[[], None], torch.Tensor]
"""What plays a step back, and the tensor that then holds its result."""
Record = Callable[[Callable[[], torch.Tensor]], Recording]
"""Records what a function does on the device."""


class StepGraphs:
    """The recordings of one model over one store.

    A recording reads its numbers from a buffer that stays in its place. Rows that only pad a step feed token 0 into
    the `spare` block, which no sequence is ever given, and what comes of them is cut off.

    width: blocks in each row of a table. spare: behind the blocks of the cache.
    """

    def __init__(self, compute: Compute, record: Record, width: int, block_size: int, spare: int) -> None:
        self._compute, self._record = compute, record
        self._width, self._block_size, self._spare = width, block_size, spare
        self._recorded: dict[int, tuple[torch.Tensor, Recording]] = {}

    def capture(self, num_rows: int, device: torch.device) -> None:
        """Record a bucket. Raises what the recording raises."""
        buffer = self._staged(num_rows, [], device).to(device)
        step = self._layout(num_rows).views(buffer)
        self._recorded[num_rows] = buffer, self._record(lambda: self._compute(step))

    def run(self, feeds: Seq[Feed]) -> torch.Tensor | None:
        """The logits of feeds of one token each, (R, V), as an own copy; None where nothing is recorded for them."""
        num_rows = next((size for size in sorted(self._recorded) if size >= len(feeds)), None)
        if num_rows is None or any(len(feed.sequence.block_ids) > self._width for feed in feeds):
            return None
        buffer, (replay, logits) = self._recorded[num_rows]
        buffer.copy_(self._staged(num_rows, feeds, buffer.device), non_blocking=True)
        replay()
        # The next playback writes over them, but rows of logits may be kept for an answer.
        return logits[: len(feeds)].clone()

    def _layout(self, num_rows: int) -> BufferLayout:
        max_keys = self._width * self._block_size
        return BufferLayout(num_rows, num_rows, self._width, num_rows, max_fed=1, max_keys=max_keys)

    def _staged(self, num_rows: int, feeds: Seq[Feed], device: torch.device) -> torch.Tensor:
        layout, is_pinned = self._layout(num_rows), device.type == "cuda"
        return stage(layout, feeds, range(num_rows), self._block_size, self._spare, is_pinned=is_pinned)


class CudaRecorder:
    """Records with CUDA graphs that share one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def __call__(self, compute: Callable[[], torch.Tensor]) -> Recording:
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            # Libraries choose and load their kernels in the first calls, which must not be recorded.
            for _ in range(2):
                compute()
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        with torch.cuda.device(self._device), recording:
            logits = compute()
        return graph.replay, logits
