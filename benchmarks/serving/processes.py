"""A server as a process with all its children: started, watched and ended together."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

POLL_S, STOP_S = 0.2, 30.0
PROC = Path("/proc")
FRAME, WORDS = " │╭╰╮╯─", re.compile(r"\w")


class NotStarted(Exception):
    """A server ended before it was ready, or took too long."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready. pid: of its first process."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def peak_mib(self) -> float:
        """The most memory that its processes held so far, each at its own time, in MiB."""
        return sum(status_kib(pid, "VmHWM") for pid in family(self.pid)) / 1024

    def cpu_s(self) -> float:
        """CPU seconds of its processes so far."""
        return sum(cpu_ticks(pid) for pid in family(self.pid)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def started(command: list[str], environment: dict[str, str], ready: str, wait_s: float, log: Path) -> Iterator[Running]:
    """A server on a free port, which replaces `{port}` in the command. ready: the path that answers 200 when it is.

    Raises NotStarted with the end of its output, which goes to `log`.
    """
    port = free_port()
    arguments = [argument.replace("{port}", str(port)) for argument in command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, env=os.environ | environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_ready(process, port, ready, wait_s, log)
        yield Running(port, process.pid)
    finally:
        stop(process)


@contextmanager
def started_module(*module: str, wait_s: float) -> Iterator[Running]:
    """`python -m` with these words, as a server that answers `/health/ready`. Raises NotStarted."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", *module]
        with started(command, {}, "/health/ready", wait_s, Path(directory) / "log") as running:
            yield running


def serve_module(settings: Mapping[str, str], package: str = "beamhouse.") -> list[str]:
    """The words behind `python -m` that start this server on the port `{port}`. settings: by their names."""
    options = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
    return [f"{package}server", "serve", "--port={port}", "--log-level=warning", *options]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, wait_s: float, log: Path) -> None:
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise NotStarted(f"ended with status {process.returncode}: {last_line(log)}")
        with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        time.sleep(POLL_S)
    raise NotStarted(f"not ready within {wait_s:g} s: {last_line(log)}")


def last_line(log: Path) -> str:
    """That holds a word: frames around messages are left out."""
    lines = [line.strip(FRAME) for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if WORDS.search(line)), "it said nothing")


def stop(process: subprocess.Popen[bytes]) -> None:
    """First politely, then the whole family."""
    pids = family(process.pid)
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def busy_s() -> float:
    """CPU seconds that all processes of this machine took so far."""
    fields = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, interrupts, soft_interrupts, *_ = map(int, fields)
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process, its children, theirs, and so on."""
    parents = {int(entry.name): parent_of(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()}
    found = [pid]
    for member in found:  # grows while it is read
        found.extend(child for child, parent in parents.items() if parent == member)
    return found


def parent_of(pid: int) -> int | None:
    """None where it has ended meanwhile."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else None


def status_kib(pid: int, field: str) -> int:
    """0 where the process has ended."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def cpu_ticks(pid: int) -> int:
    """User and system time; 0 where the process has ended."""
    fields = stat_fields(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def stat_fields(pid: int) -> list[str]:
    """What stands behind the name, which may hold spaces; empty where the process has ended."""
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []
