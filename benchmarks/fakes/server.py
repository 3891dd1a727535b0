"""The real server in front of `benchmarks.fakes.engine`.

python -m benchmarks.fakes.server PORT STEP_MS
"""

import sys

from beamhouse.config.settings import load
from beamhouse.engine.link.client import EngineClient
from beamhouse.server.app import create_app
from beamhouse.server.command.logs import configure_logs
from beamhouse.server.command.web_server import run


def main() -> None:
    port, step_ms = sys.argv[1:]
    settings = load({"port": port, "max_requests": 512, "log_level": "warning"})
    configure_logs(settings.server)
    client = EngineClient(settings, command=(sys.executable, "-m", "benchmarks.fakes.engine", step_ms))
    sys.exit(run(create_app(client, settings), client, settings))


if __name__ == "__main__":
    main()
