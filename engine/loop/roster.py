"""Who is in the engine, and how requests leave it: done, cancelled, refused, or with a fault."""

import logging
from collections.abc import Mapping

from beamhouse.engine.decoding.requested_outputs import Trace
from beamhouse.engine.decoding.strategy import Strategy
from beamhouse.engine.link.errors import BatchFailed, EngineError, RequestFailed
from beamhouse.engine.loop.inspecting import Inspections
from beamhouse.engine.loop.outbox import Outbox
from beamhouse.engine.loop.scheduler import Scheduler
from beamhouse.engine.state.request import Request
from beamhouse.schemas.generation.modes import GenerationMode

logger = logging.getLogger(__name__)


class Roster:
    """The requests that are here, each with its trace. Whoever leaves frees all it holds.

    A fault of the accounting leaves it in doubt: blocks may be counted that nobody holds. `settle_doubts` begins anew.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        strategies: Mapping[GenerationMode, Strategy],
        outbox: Outbox,
        inspections: Inspections,
    ) -> None:
        self._scheduler, self._strategies = scheduler, strategies
        self._outbox, self._inspections = outbox, inspections
        self._is_in_doubt = False
        self.by_id: dict[str, Request] = {}
        self.traces: dict[Request, Trace] = {}

    def __contains__(self, request: Request) -> bool:
        return request in self.traces

    def add(self, request: Request) -> None:
        self.by_id[request.id] = request
        self.traces[request] = Trace(request.submission.wanted, request.config)

    def forget(self, request: Request) -> None:
        """Free what a request holds; nothing more is said of it."""
        self.by_id.pop(request.id, None)
        self._inspections.drop(request)
        self.traces.pop(request, None)
        for let_go in (self._strategies[request.config.mode].release, self._scheduler.remove):
            try:
                let_go(request)
            except Exception:
                logger.exception("a request could not be freed")
                self._is_in_doubt = True

    def fail(self, request: Request, error: EngineError) -> None:
        self._outbox.fail(request.id, error)
        self.forget(request)

    def blame(self, request: Request, doing: str, error: Exception) -> None:
        """End the request that a fault is of. Whether blocks are still counted right is not known then."""
        logger.exception("%s failed", doing)
        self._is_in_doubt = True
        self.fail(request, RequestFailed(f"{doing} failed: {type(error).__name__}"))

    def end_running(self, error: Exception) -> None:
        """End all that ran after a fault of nobody knows whom; with nobody running, those that wait."""
        for request in list(self._scheduler.running) or self._scheduler.waiting:
            self.fail(request, BatchFailed(f"the step failed: {type(error).__name__}"))

    def start_over(self, error: Exception) -> None:
        """End all that ran, where the fault may have left the accounting wrong too."""
        self.end_running(error)
        self._is_in_doubt = True
        self.settle_doubts()

    def settle_doubts(self) -> None:
        """After a fault, compute what still runs anew, over a cache that nobody has written in."""
        if self._is_in_doubt:
            self._scheduler.restart()
            self._is_in_doubt = False
