"""How long the server takes from its start to its readiness, where that time goes, and what memory it holds then.

    python -m benchmarks.startup [--model builtin] [--rounds 5] [--json FILE]

Each round starts the command anew. Until `resolve` the engine process imports what it needs; the stages are those that
`GET /health/ready` tells, looked at every few milliseconds. Memory is the peak of each process at readiness.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any

from beamhouse.config.settings import load
from beamhouse.engine.loading.files import find_model
from benchmarks.machine.facts import cpu_name
from benchmarks.report.options import positive
from benchmarks.report.tables import markdown, show, write_json
from benchmarks.serving.processes import NotStarted, family, free_port, status_kib, stop

POLL_S = 0.005
WAIT_S = 600.0
LISTENING = "listening"


@dataclass(frozen=True, slots=True)
class StartupOptions:
    model: str
    rounds: int
    json: Path | None


@dataclass(frozen=True, slots=True)
class Start:
    """ready_s: from the start of the command. seen_s: when each stage was first seen. …_peak_mib: of each process."""

    ready_s: float
    seen_s: dict[str, float]
    http_peak_mib: float
    engine_peak_mib: float


def main() -> None:
    options = read_options()
    starts = [start_once(options.model) for _ in range(options.rounds)]
    facts = {"model": options.model, "weights_mib": round(weights_mib(options.model), 1), "cpu": cpu_name()}
    show(facts)
    print(table(starts))
    if options.json:
        write_json(options.json, facts, [asdict(start) for start in starts])


def read_options(arguments: Sequence[str] | None = None) -> StartupOptions:
    parser = argparse.ArgumentParser(prog="benchmarks.startup", description="From the start to readiness.")
    parser.add_argument("--model", default="builtin", help="directory, Hub id or builtin (default)")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    return StartupOptions(**vars(parser.parse_args(arguments)))


def start_once(model: str) -> Start:
    """Raises NotStarted."""
    port, began = free_port(), time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "beamhouse.server",
        "serve",
        f"--model={model}",
        f"--port={port}",
        "--log-level=error",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    seen: dict[str, float] = {}
    try:
        while "ready" not in seen:
            now = time.perf_counter() - began
            if process.poll() is not None or now > WAIT_S:
                raise NotStarted(f"the server of {model} did not get ready")
            for stage in stages_now(port):
                seen.setdefault(stage, now)
            time.sleep(POLL_S)
        _, engine = family(process.pid)
        peaks = (status_kib(pid, "VmHWM") / 1024 for pid in (process.pid, engine))
        return Start(seen["ready"], seen, *peaks)
    finally:
        stop(process)


def stages_now(port: int) -> list[str]:
    """That the server listens, and the stage it tells; nothing while nobody listens."""
    with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
        return [LISTENING, "ready" if answer.status == 200 else str(body.get("stage", LISTENING))]
    return []


def weights_mib(model: str) -> float:
    path = find_model(load({"model": model}).model, lambda stage, share: None)
    return sum(file.stat().st_size for file in path.glob("*.safetensors")) / 2**20


def table(starts: Sequence[Start]) -> str:
    """Medians over the rounds; a stage too short to be seen in some of them counts where it was seen."""
    stages = list(dict.fromkeys(stage for start in starts for stage in start.seen_s))
    seen = {stage: [start.seen_s[stage] for start in starts if stage in start.seen_s] for stage in stages}
    lines = [["", "median", "least", "most"]]
    for stage in sorted(stages, key=lambda stage: median(seen[stage])):
        times = seen[stage]
        lines.append([f"{stage} after", *(f"{of(times):.2f} s" for of in (median, min, max))])
    for title, peaks in (
        ("HTTP process, peak", [start.http_peak_mib for start in starts]),
        ("engine process, peak", [start.engine_peak_mib for start in starts]),
    ):
        lines.append([title, *(f"{of(peaks):.0f} MiB" for of in (median, min, max))])
    return markdown(lines, names=1)


if __name__ == "__main__":
    main()
