"""`model.generate()` behind HTTP: one request after another, each token sent as it comes.

python -m benchmarks.peers.generate_server MODEL --port 8080 [--dtype bfloat16] [--threads 2]
"""

import argparse
import threading
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer

from benchmarks.peers.token_server import Emit, Server


class Sender(BaseStreamer):
    """Sends every token but the prompt, which comes first."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        if not self._is_prompt:
            self._emit(value.tolist())
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is left to send."""


class Generator:
    """`generate()` takes one request at a time; the others wait."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._turn = threading.Lock()

    def complete(self, prompt: list[int], num_new: int, emit: Emit) -> None:
        inputs = torch.tensor([prompt])  # (1, L)
        with self._turn:
            self._model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                do_sample=False,
                max_new_tokens=num_new,
                min_new_tokens=num_new,
                streamer=Sender(emit),
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers.generate_server", description="generate() over HTTP.")
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=options.dtype)
    Server(options.port, Generator(model.eval()).complete).serve_forever()


if __name__ == "__main__":
    main()
