"""Real processes for the deployment tests: servers, and the load balancer in front of them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent.parent
LONG_S = 120.0  # a busy machine needs some time to import torch


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + LONG_S
    while not is_true():
        assert time.monotonic() < ends_at, f"{what} did not happen within {LONG_S:g} seconds"
        time.sleep(0.05)


def status_of(url: str) -> int:
    """The status of a GET, 0 without an answer."""
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return 0


def served_by(url: str) -> str:
    """The replica that answers a probe through the balancer, empty if none does."""
    try:
        return httpx.get(f"{url}/health/live", timeout=5).headers.get("x-served-by", "")
    except httpx.TransportError:
        return ""


class Replica:
    """A server with the built-in model on a port of its own, which it keeps when it is started again."""

    def __init__(self, log: Path, *options: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.log = log
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        command = [sys.executable, "-m", "beamhouse.server", "serve", "--port", str(self.port), "--num-threads", "1"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.options], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_ready(self) -> None:
        assert self.process is not None

        def is_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            return status_of(f"{self.url}/health/ready") == 200

        wait_until(is_ready, f"{self.address} ready")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_ended(self) -> int:
        """The exit status."""
        assert self.process is not None
        return self.process.wait(timeout=LONG_S)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGTERM)
            try:
                self.process.wait(timeout=LONG_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Balancer:
    """HAProxy with the configuration that the compose file uses."""

    def __init__(self, replicas: list[Replica], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"LISTEN": f"127.0.0.1:{self.port}"}
        self.environment |= {f"REPLICA_{number}": replica.address for number, replica in enumerate(replicas, start=1)}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *options: str) -> list[str]:
        return ["haproxy", *options, "-f", str(ROOT / "config" / "haproxy.cfg")]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("-db"), env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
