"""The real server in front of `benchmarks.fake_engine`.

python -m benchmarks.fake_server PORT STEP_MS
"""

import sys

from config.settings import load
from engine.client import EngineClient
from server.app import create_app
from server.logs import configure_logs
from server.web_server import run


def main() -> None:
    port, step_ms = sys.argv[1:]
    settings = load({"port": port, "max_requests": 512, "log_level": "warning"})
    configure_logs(settings.server)
    client = EngineClient(settings, command=(sys.executable, "-m", "benchmarks.fake_engine", step_ms))
    sys.exit(run(create_app(client, settings), client, settings))


if __name__ == "__main__":
    main()
