"""Two replicas behind HAProxy, as `docker-compose.yml` runs them: balance, streams, and the loss of a replica."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx

from tests.deploy.conftest import Pool, serving
from tests.deploy.processes import LONG_S, ROOT, wait_until

NAMES = ("replica-1", "replica-2")


def body(num_tokens: int, **fields: Any) -> dict[str, Any]:
    """A request that takes exactly this many tokens, whatever the model would like."""
    config = {"max_new_tokens": num_tokens, "min_new_tokens": num_tokens}
    return {"inputs": "Once upon a time", "generation_config": config} | fields


def ask(pool: Pool, num_tokens: int = 1) -> httpx.Response:
    return httpx.post(f"{pool.balancer.url}/generate", json=body(num_tokens), timeout=LONG_S)


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Name and data of each server-sent event, as it comes."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_the_configuration_is_valid(pool: Pool):
    checked = subprocess.run(
        pool.balancer.command("-c"), env=pool.balancer.environment, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b""), checked.stderr.decode()


def test_compose_runs_this_configuration():
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "./config/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro" in compose
    assert all(f"{name}:" in compose for name in ("LISTEN", "REPLICA_1", "REPLICA_2"))


def test_requests_go_to_both(pool: Pool):
    answers = [ask(pool) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    names = [answer.headers["x-served-by"] for answer in answers]
    assert set(names) == set(NAMES)
    assert 3 <= names.count(NAMES[0]) <= 5


def test_both_give_the_same_answer(pool: Pool):
    sampled = body(8, seed=7)
    sampled["generation_config"]["do_sample"] = True
    texts = {
        httpx.post(f"{replica.url}/generate", json=sampled, timeout=LONG_S).json()["generated_text"]
        for replica in pool.replicas
    }
    assert len(texts) == 1


def test_a_stream_is_not_held_back(pool: Pool):
    num_tokens, times, names = 100, [], []
    started = time.monotonic()
    with httpx.stream(
        "POST", f"{pool.balancer.url}/generate", json=body(num_tokens, stream=True), timeout=LONG_S
    ) as response:
        for name, _ in events(response):
            times.append(time.monotonic() - started)
            names.append(name)
    assert names[-1] == "done"
    assert len(times) > num_tokens / 4
    assert times[0] < times[-1] / 2


def test_a_lost_replica_takes_only_its_own_streams_along(pool: Pool):
    lost = pool.replicas[0]
    ended: dict[str, str] = {}
    streams = [
        httpx.stream("POST", f"{pool.balancer.url}/generate", json=body(400, stream=True), timeout=LONG_S)
        for _ in NAMES
    ]
    with streams[0] as first, streams[1] as second:
        open_streams = {response.headers["x-served-by"]: response for response in (first, second)}
        assert set(open_streams) == set(NAMES)
        readers = {name: events(response) for name, response in open_streams.items()}
        for reader in readers.values():
            assert next(reader)[0] in ("token", "tokens")
        lost.send(signal.SIGKILL)
        lost.wait_ended()
        answers = [ask(pool) for _ in range(6)]
        for name, reader in readers.items():
            try:
                ended[name] = [event for event, _ in reader][-1]
            except httpx.RemoteProtocolError:
                ended[name] = "cut"
    assert ended == {"replica-1": "cut", "replica-2": "done"}
    assert [(answer.status_code, answer.headers["x-served-by"]) for answer in answers] == [(200, "replica-2")] * 6

    lost.start()
    lost.wait_ready()
    wait_until(lambda: serving(pool) == set(NAMES), "the replica back in the pool")


def test_a_replica_that_is_asked_to_stop_finishes_first(pool: Pool):
    leaving = pool.replicas[1]
    with httpx.stream("POST", f"{leaving.url}/generate", json=body(400, stream=True), timeout=LONG_S) as response:
        reader = events(response)
        next(reader)
        leaving.send(signal.SIGTERM)
        wait_until(lambda: serving(pool) == {NAMES[0]}, "the leaving replica out of the pool")
        answers = [ask(pool) for _ in range(4)]
        assert [event for event, _ in reader][-1] == "done"
    assert [(answer.status_code, answer.headers["x-served-by"]) for answer in answers] == [(200, NAMES[0])] * 4
    assert leaving.wait_ended() == 0
