"""Run the app: bind the port, tell how loading goes, and finish what runs before stopping."""

import gc
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from beamhouse.config.settings import Settings
from beamhouse.schemas.words import Stage
from beamhouse.server.command.failures import EXIT_FAILED, CommandFailed
from beamhouse.server.command.loading_report import LoadingReport, loading_report
from beamhouse.server.edge.connections import PROBE_PLACES, Bounds, protocol
from beamhouse.server.edge.open_files import places_for
from beamhouse.server.service import EngineLink

CUT_ANSWERS_S = 2  # seconds that answers cut by the end of the drain have to reach their clients
BACKLOG = 2048  # connections the system holds until they are accepted


class CannotListen(CommandFailed):
    """The port is taken, or the address is not one of this machine."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # a name that no address can have is not even looked up
        reason = getattr(error, "strerror", None) or error
        raise CannotListen(f"cannot listen on {host} port {port}: {reason}") from error


def run(app: FastAPI, client: EngineLink, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT and return the exit status: 0, or 1 if the engine could not be kept alive."""
    listener = bind(settings.server.host, settings.server.port)
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    server = DrainingServer(uvicorn_config(app, settings), client, address)
    server.report = loading_report(is_logged=settings.server.logs_json)
    server.close_doors = app.state.service.gate.close
    server.drain_s = settings.server.shutdown_s
    # What lives as long as the process need not be looked at by each collection between two tokens.
    gc.freeze()
    gc.enable()
    with listener:
        server.run(sockets=[listener])
    return server.status


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    places = places_for(settings.server.max_connections, PROBE_PLACES)
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol(Bounds.of(settings.server, places)),  # type: ignore[arg-type]  # called like a class
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=round(settings.server.keep_alive_s),
        timeout_graceful_shutdown=CUT_ANSWERS_S,
        backlog=BACKLOG,
    )


class DrainingServer(uvicorn.Server):
    """A server that leaves in order: new requests are refused, the running ones end, then it exits with status 0.

    The first signal starts that. The second one, or the end of `drain_s`, ends what still runs with an error.
    """

    def __init__(self, config: uvicorn.Config, client: EngineLink, address: str) -> None:
        super().__init__(config)
        self.client = client
        self.address = address
        self.report: LoadingReport = loading_report()
        self.close_doors: Callable[[], None] = lambda: None
        self.drain_s = 0.0
        self.drain_ends_at: float | None = None  # time.monotonic() seconds, once draining
        self.num_signals = 0
        self.stage: Stage | None = None
        self.status = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Only count: uvicorn's own would stop at once, and would raise the signal again at the end."""
        self.num_signals += 1

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; True ends the server."""
        if self.num_signals:
            return await self.drain()
        self.tell()
        if self.client.status.stage is Stage.FAILED:
            self.status = EXIT_FAILED
            return True
        return await super().on_tick(counter)

    async def drain(self) -> bool:
        """Refuse what is new; True when nothing runs any more or what runs has been ended."""
        if self.drain_ends_at is None:
            self.drain_ends_at = time.monotonic() + self.drain_s
            self.close_doors()
            self.report.say(stopping_line(len(self.server_state.tasks)))
        if not self.server_state.tasks:
            return True
        if self.num_signals > 1 or time.monotonic() >= self.drain_ends_at:
            await self.client.stop()
            return True
        return False

    def tell(self) -> None:
        """Say what has changed since the last tick."""
        status = self.client.status
        if status.stage is Stage.FAILED:
            self.report.fail(f"beamhouse: {status.error}")
        elif status.stage is Stage.STALLED or self.stage is Stage.STALLED:
            if status.stage != self.stage:
                self.report.say(f"{status.stage}: {status.error}" if status.error else status.stage)
        elif not status.is_ready:
            self.report.loading(status.stage, status.share)
        elif status.stage != self.stage:
            self.report.done()
            self.report.say(ready_lines(self.address, self.client))
        self.stage = status.stage


def stopping_line(num_running: int) -> str:
    return f"stopping: {num_running} requests still run; a second signal ends them" if num_running else "stopping"


def ready_lines(address: str, client: EngineLink) -> str:
    """Where the server is, and one request to try."""
    info = client.info
    what = f" ({info.model_id}, {info.dtype} on {info.device})" if info else ""
    body = '{"inputs": "Once upon a time"}'
    return f"ready: {address}{what}\n  try: curl {address}/generate -H 'Content-Type: application/json' -d '{body}'"
