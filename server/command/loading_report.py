"""Tells an operator how loading goes: a progress bar on a terminal, a line for each stage elsewhere."""

import sys
from typing import Protocol

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from beamhouse.schemas.words import Stage

log = structlog.get_logger()


class LoadingReport(Protocol):
    """share: of the stage, 0 to 1."""

    def loading(self, stage: Stage, share: float) -> None: ...
    def done(self) -> None: ...
    def say(self, text: str) -> None: ...
    def fail(self, text: str) -> None: ...


def loading_report(*, is_logged: bool = False) -> LoadingReport:
    """What fits where stderr goes."""
    if is_logged:
        return LogReport()
    return TerminalReport() if sys.stderr.isatty() else LineReport()


class TerminalReport:
    """A progress bar that ends when something else is said."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description:>10}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
        self.progress = Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True)
        self.task: TaskID | None = None

    def loading(self, stage: Stage, share: float) -> None:
        if self.task is None:
            self.task = self.progress.add_task(stage, total=1.0)
            self.progress.start()
        self.progress.update(self.task, description=stage, completed=share)

    def done(self) -> None:
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None

    def say(self, text: str) -> None:
        self.done()
        self.console.print(text, markup=False, soft_wrap=True)

    fail = say


class LineReport:
    """A line for each stage, where there is no terminal."""

    def __init__(self) -> None:
        self.stage: Stage | None = None

    def loading(self, stage: Stage, share: float) -> None:
        if stage != self.stage:
            self.say(f"loading: {stage}")
        self.stage = stage

    def done(self) -> None:
        self.stage = None

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    fail = say


class LogReport(LineReport):
    """The same as log lines."""

    def say(self, text: str) -> None:
        log.info(text)

    def fail(self, text: str) -> None:
        log.error(text)
