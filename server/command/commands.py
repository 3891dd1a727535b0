"""What the commands that run an engine do once their settings are read.

`cli.py` imports this only after it has started the engine process, whose own imports take longest.
"""

import asyncio
from typing import Any

import structlog

from beamhouse.config.settings import Settings
from beamhouse.engine.link.child import Child
from beamhouse.engine.link.client import EngineClient
from beamhouse.server.app import create_app
from beamhouse.server.command.in_process import LocalRequest, generate_once
from beamhouse.server.command.loading_report import loading_report
from beamhouse.server.command.logs import configure_logs
from beamhouse.server.command.output import log_output, take_over_output
from beamhouse.server.command.web_server import run
from beamhouse.server.service import Service


def serve(settings: Settings, child: Child) -> int:
    """Serve until SIGTERM; the exit status. Raises CannotListen."""
    configure_logs(settings.server)
    if settings.server.logs_json:
        take_over_output()
    if settings.without_effect:
        structlog.get_logger().warning("variables of TGI that change nothing here", names=settings.without_effect)
    client = EngineClient(settings, child, hear=log_output if settings.server.logs_json else None)
    return run(create_app(client, settings), client, settings)


def generate(settings: Settings, child: Child, request: LocalRequest) -> Any:
    """The answer to one request, as JSON has it. Raises RequestRefused or EngineError."""
    configure_logs(settings.server.model_copy(update={"log_level": "warning"}))
    client = EngineClient(settings, child)
    return asyncio.run(generate_once(Service.of(client, settings), client, loading_report(), request))
