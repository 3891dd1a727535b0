"""Two replicas behind HAProxy, started once."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.deploy.processes import Balancer, Replica, served_by, status_of, wait_until


@dataclass(frozen=True, slots=True)
class Pool:
    replicas: list[Replica]
    balancer: Balancer


@pytest.fixture(scope="session")
def started_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    assert shutil.which("haproxy"), "these tests drive a real HAProxy: install the package haproxy"
    logs = tmp_path_factory.mktemp("logs")
    replicas = [Replica(logs / f"replica-{number}.log", "--shutdown-s", "300") for number in (1, 2)]
    balancer = Balancer(replicas, logs / "haproxy.log")
    pool = Pool(replicas, balancer)
    try:
        for replica in replicas:
            replica.start()
        balancer.start()
        yield pool
    finally:
        balancer.stop()
        for replica in replicas:
            replica.stop()


@pytest.fixture
def pool(started_pool: Pool) -> Pool:
    """Both replicas up, and both in use by the balancer."""
    for replica in started_pool.replicas:
        replica.start()
    for replica in started_pool.replicas:
        replica.wait_ready()
    wait_until(lambda: status_of(f"{started_pool.balancer.url}/health/live") == 200, "the balancer answers")
    wait_until(lambda: len(serving(started_pool)) == 2, "both replicas in the pool")
    return started_pool


def serving(pool: Pool) -> set[str]:
    """The replicas that answer a few requests, by their name in haproxy.cfg."""
    return {served_by(pool.balancer.url) for _ in range(4)} - {""}
