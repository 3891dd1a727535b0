"""`--log-format json`: whatever is said by whichever process, each line is one JSON object."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.processes import ROOT, Replica, free_port

CRASH = """
import logging, sys, threading, warnings
from beamhouse.config.settings import Settings
from beamhouse.server.command.logs import configure_logs
from beamhouse.server.command.output import take_over_output
configure_logs(Settings(server={"log_format": "json"}).server)
take_over_output()
print("printed")
sys.stderr.write("no end of the line")
warnings.warn("warned\\nof", stacklevel=1)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("the end")
"""


def parsed(text: str) -> list[dict[str, Any]]:
    """Every line as JSON."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(line, dict) and {"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)
    return lines


def test_a_server_says_nothing_else_from_loading_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    replica = Replica(log, "--log-format", "json", "--logits-processors", "tests.served.talkative:Talkative")
    replica.start()
    try:
        replica.wait_ready()
        body = {"inputs": "a", "generation_config": {"max_new_tokens": 2}, "logits_processor": [{"name": "Talkative"}]}
        assert httpx.post(f"{replica.url}/generate", json=body, timeout=60).status_code == 200
        with socket.create_connection(("127.0.0.1", replica.port)) as client:
            client.sendall(b"nonsense\r\n\r\n")
            assert client.recv(1000)
        replica.send(signal.SIGTERM)
        assert replica.wait_ended() == 0
    finally:
        replica.stop()
    events = {line["event"]: line for line in parsed(log.read_text(encoding="utf-8"))}
    assert {"loading: weights", "printed", "printed where errors go", "written by compiled code"} <= events.keys()
    assert any(event.startswith("ready: http://") for event in events)
    assert any("warned of" in event for event in events)
    assert any(event.startswith("drawn: 100%") for event in events)
    assert (events["logged"]["level"], events["logged"]["logger"]) == ("error", "talkative")
    assert events["request accepted"]["level"] == "info"


def serve(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beamhouse.server", "serve", "--log-format", "json", *options]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120, check=False)


def test_the_reason_of_a_failed_start_is_a_line_of_its_own() -> None:
    done = serve("/nowhere", "--port", "0")
    (reason,) = [line for line in parsed(done.stdout + done.stderr) if line["event"].startswith("beamhouse: ")]
    assert (done.returncode, reason["level"]) == (1, "error")
    assert "/nowhere" in reason["event"]


def test_a_taken_port_is_told_as_json_too() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        done = serve("--port", str(port))
    (reason,) = parsed(done.stdout + done.stderr)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in reason["event"]


def test_a_crash_of_the_process_itself_is_json_with_its_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", CRASH], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = parsed(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert lines[0]["event"] == "printed"
    crashes = [line["exception"] for line in lines if "exception" in line]
    assert [crash.splitlines()[-1] for crash in crashes] == [
        "ZeroDivisionError: division by zero",
        "ValueError: the end",
    ]
    assert any(line["event"] == "no end of the line" for line in lines)
