"""A server that may open few files, and more silent clients than that."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.deploy.processes import ROOT, free_port, status_of, wait_until

MOST_FILES = 150


def test_probes_get_through_though_silent_clients_ask_for_more_files_than_there_are(tmp_path: Path) -> None:
    port = free_port()
    command = f"ulimit -n {MOST_FILES}; exec {sys.executable} -m beamhouse.server serve --port {port} --num-threads 1"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log, ExitStack() as stack:
        process = subprocess.Popen(["bash", "-c", command], cwd=ROOT, env=environment, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        live = f"http://127.0.0.1:{port}/health/live"
        wait_until(lambda: status_of(live) == 200, "the server answers")
        for _ in range(8):
            for _ in range(40):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert status_of(live) == 200
        wait_until(lambda: status_of(live.replace("live", "ready")) == 200, "the engine loads nevertheless")
