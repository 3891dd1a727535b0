"""The worst requests that are still admitted leave the probe and a stream beside them alone."""

import asyncio

import httpx
import pytest

from benchmarks.neighbours import ALONE, Beside, beside, worst_requests
from tests.deploy.processes import Replica

PROBE_MS = 100.0
MOST_MEDIANS = 3.0
NOISE = 3.0
"""So many times what the machine does to a server that nobody else asks may be its own doing."""


@pytest.mark.slow
def test_the_worst_admitted_requests_do_not_hold_up_others(server: Replica) -> None:
    model = httpx.get(f"{server.url}/info").raise_for_status().json()["model"]
    cases = worst_requests(model["vocab_size"], model["context_len"])
    alone = asyncio.run(beside(server.url, cases.pop(ALONE), 1))
    found = {name: asyncio.run(beside(server.url, body, 1)) for name, body in cases.items()}
    slow = {name: one for name, one in found.items() if not is_good(one, alone)}
    assert not slow, f"beside nobody: {alone}"


def is_good(one: Beside, alone: Beside) -> bool:
    is_alive = one.probe < max(PROBE_MS, NOISE * alone.probe)
    return is_alive and one.late < max(MOST_MEDIANS * one.middle, NOISE * alone.late)
