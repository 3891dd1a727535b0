"""OpenVINO GenAI's continuous batching behind HTTP. Runs in its own environment; the library has no server itself.

python -m benchmarks.peers.openvino_server MODEL --port 8080 [--precision bf16] [--threads 2] [--cache-gib 1]
"""

import argparse
import itertools
import queue
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino  # type: ignore[import-not-found]  # this peer's environment alone has it
import openvino_genai  # type: ignore[import-not-found]

from benchmarks.peers.token_server import Emit, Server

MAX_ROWS = 64


@dataclass(slots=True)
class Asked:
    prompt: list[int]
    num_new: int
    emit: Emit
    is_done: threading.Event = field(default_factory=threading.Event)


class Loop:
    """Steps the pipeline while it has requests; new ones come in between two steps."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._inbox: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self._running: dict[Any, Asked] = {}
        self._numbers = itertools.count()

    def complete(self, prompt: list[int], num_new: int, emit: Emit) -> None:
        asked = Asked(prompt, num_new, emit)
        self._inbox.put(asked)
        asked.is_done.wait()

    def run(self) -> None:
        while True:
            while not self._running or not self._inbox.empty():
                self._begin(self._inbox.get())
            self._pipeline.step()
            for handle, asked in list(self._running.items()):
                self._pass_on(handle, asked)

    def _begin(self, asked: Asked) -> None:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = asked.num_new, True, False
        prompt = openvino.Tensor(np.array([asked.prompt], dtype=np.int64))
        self._running[self._pipeline.add_request(next(self._numbers), prompt, config)] = asked

    def _pass_on(self, handle: Any, asked: Asked) -> None:
        if handle.can_read():
            for output in handle.read().values():
                asked.emit(output.generated_ids)
        elif handle.get_status() != openvino_genai.GenerationStatus.RUNNING:
            del self._running[handle]
            asked.is_done.set()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers.openvino_server", description="OpenVINO GenAI over HTTP.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--precision", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache-gib", type=int, default=1)
    options = parser.parse_args()
    schedule = openvino_genai.SchedulerConfig()
    schedule.cache_size, schedule.max_num_seqs = options.cache_gib, MAX_ROWS
    properties = {"INFERENCE_PRECISION_HINT": options.precision, "INFERENCE_NUM_THREADS": options.threads}
    loop = Loop(openvino_genai.ContinuousBatchingPipeline(options.model, schedule, "CPU", properties))
    threading.Thread(target=loop.run, daemon=True).start()
    Server(options.port, loop.complete).serve_forever()


if __name__ == "__main__":
    main()
