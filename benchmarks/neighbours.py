"""What the worst requests that are still admitted do to their neighbours: the probe, and a stream beside them.

    python -m benchmarks.neighbours [--model builtin] [--rounds 1]

For each of them a real server answers it while a stream runs and `/health/live` is asked twenty times a second. Printed
are the slowest probe, and of the gaps between the stream's tokens the median, the 99th percentile and how many times
the median that is. The first line is the stream with nobody beside it, which shows what the machine itself does.
"""

import argparse
import asyncio
import json
import time
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import httpx

from beamhouse.server.command.bench.quantiles import quantile
from benchmarks.machine.facts import cpu_name
from benchmarks.report.options import positive
from benchmarks.report.tables import markdown, show
from benchmarks.serving.plain_requests import ServerFailed, server_info
from benchmarks.serving.processes import serve_module, started_module

PROBE_EVERY_S = 0.05
ALONE = "nobody beside it"
ALONE_S = 0.5
NUM_NEW = 400
WAIT_S = 300.0


def worst_requests(vocab_size: int, context_len: int) -> dict[str, dict[str, Any]]:
    """Bodies near the limits of the settings' defaults."""
    many = [[4 + place % (vocab_size - 8), 5, 6] for place in range(16_000)]
    half = context_len // 2
    return {
        ALONE: {},
        "16,000 bad words, 32 prompts": {
            "inputs": [[5]] * 32,
            "generation_config": {"bad_words_ids": many, "max_new_tokens": 20},
        },
        "16 rows, 60 likeliest tokens": {
            "inputs": [5],
            "generation_config": {"do_sample": True, "num_return_sequences": 16, "max_new_tokens": 300},
            "outputs": {"top_n_tokens": 60},
        },
        "8 beams, a choice of 4,000 phrases": {
            "inputs": [5],
            "generation_config": {"num_beams": 8, "force_words_ids": [many[:4000]], "max_new_tokens": 20},
        },
        "64 beams, progress": {
            "inputs": [5],
            "stream": True,
            "generation_config": {"num_beams": 64, "max_new_tokens": 150},
            "outputs": {"progress": True},
        },
        "attention maps of one query": {
            "inputs": [5] * half,
            "generation_config": {"output_attentions": True, "max_new_tokens": 4},
            "outputs": {"positions": [1], "layers": [0]},
        },
        "16 processors": {
            "inputs": [5],
            "generation_config": {"max_new_tokens": 50},
            "logits_processor": [{"name": "block_characters", "args": {"deny": [chr(65 + n)]}} for n in range(16)],
        },
    }


async def probe(client: httpx.AsyncClient, slowest: list[float]) -> None:
    while True:
        start = time.perf_counter()
        (await client.get("/health/live")).raise_for_status()
        slowest.append(time.perf_counter() - start)
        await asyncio.sleep(PROBE_EVERY_S)


async def post(url: str, body: dict[str, Any]) -> None:
    """Send a request from a process of its own, so that reading a large answer holds up nobody who is timed here."""
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--data-binary", "@-", url]
    sender = await asyncio.create_subprocess_exec(
        *command, "--header", "Content-Type: application/json", stdin=PIPE, stdout=PIPE
    )
    status, _ = await sender.communicate(json.dumps(body).encode())
    if status != b"200":
        raise ServerFailed(f"status {status.decode()} for the worst request")


async def stream(client: httpx.AsyncClient, stop: asyncio.Event, gaps: list[float]) -> None:
    """Streams, one after the other, until told to stop; the gaps between the tokens of each."""
    config = {"max_new_tokens": NUM_NEW, "min_new_tokens": NUM_NEW}
    body = {"inputs": [7, 8, 9], "stream": True, "generation_config": config}
    while not stop.is_set():
        times: list[float] = []
        async with client.stream("POST", "/generate", json=body) as response:
            async for line in response.aiter_lines():
                if line == "event: token":
                    times.append(time.perf_counter())
                if stop.is_set() and len(gaps) + len(times) > NUM_NEW:
                    break
        gaps += [later - earlier for earlier, later in pairwise(times)]


@dataclass(frozen=True, slots=True)
class Beside:
    """What a probe and a stream met, in milliseconds: the slowest probe; the median and the 99th percentile of gaps."""

    probe: float
    middle: float
    late: float

    @property
    def cells(self) -> list[str]:
        return [f"{figure:.1f}" for figure in (self.probe, self.middle, self.late, self.late / self.middle)]


async def beside(address: str, body: dict[str, Any], rounds: int) -> Beside:
    """body: of the request that is sent so many times; an empty one for none."""
    async with httpx.AsyncClient(base_url=address, timeout=WAIT_S) as client:
        slowest: list[float] = []
        gaps: list[float] = []
        stop = asyncio.Event()
        streaming = asyncio.create_task(stream(client, stop, gaps))
        probing = asyncio.create_task(probe(client, slowest))
        await asyncio.sleep(ALONE_S if body else 4 * ALONE_S)
        for _ in range(rounds if body else 0):
            await post(f"{address}/generate", body)
        stop.set()
        await streaming
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
    return Beside(max(slowest) * 1e3, median(gaps) * 1e3, quantile(gaps, 0.99) * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rounds", type=positive, default=1, help="times that each request is sent")
    options = parser.parse_args()
    show({"machine": cpu_name(), "model": options.model})
    heads = ["beside", "slowest probe, ms", "median gap, ms", "99th percentile, ms", "of the median"]
    with started_module(*serve_module({"model": options.model}), wait_s=WAIT_S) as server:
        model = server_info(server.address)["model"]
        cases = worst_requests(model["vocab_size"], model["context_len"])
        lines = [
            [name, *asyncio.run(beside(server.address, body, options.rounds)).cells] for name, body in cases.items()
        ]
    print(markdown([heads, *lines], names=1))


if __name__ == "__main__":
    main()
