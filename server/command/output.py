"""Turns what is printed rather than logged into log lines: of this process, and of the engine's.

Warnings, progress bars, tracebacks and what compiled code writes all arrive as plain lines; where logs are read by
machines, each of them has to be one of theirs.
"""

import io
import logging
import re
import sys
import threading
from types import TracebackType
from typing import BinaryIO, TextIO

LOGGED = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) (\S+): (.*)")
"""How the engine process writes its own log lines."""


def log_line(line: str, origin: str) -> None:
    """Log a printed line, unless it is blank. One that the engine logged keeps its level and logger."""
    line = line.strip()
    if found := LOGGED.fullmatch(line):
        level, origin, line = logging.getLevelNamesMapping()[found[1]], found[2], found[3]
    else:
        level = logging.WARNING
    if line:
        logging.getLogger(origin).log(level, "%s", line)


def log_output(output: BinaryIO) -> None:
    """Log all that the engine process prints, until it ends, in a thread of its own: nothing else may wait for it."""

    def read() -> None:
        # Lines end at carriage returns too: progress bars know no others.
        with io.TextIOWrapper(output, encoding="utf-8", errors="replace", newline=None) as lines:
            for line in lines:
                log_line(line, "engine")

    threading.Thread(target=read, name="engine output", daemon=True).start()


class LogWriter(io.TextIOBase):
    """Stands for a stream of this process: each line that is written becomes a log line.

    behind: where to write what is printed while a line is being logged, which would otherwise never end.
    """

    def __init__(self, origin: str, behind: TextIO) -> None:
        self._origin, self._behind = origin, behind
        self._held = ""
        self._writing = threading.local()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if getattr(self._writing, "is_nested", False):
            return self._behind.write(text)
        self._writing.is_nested = True
        try:
            *lines, self._held = (self._held + text).replace("\r", "\n").split("\n")
            for line in lines:
                log_line(line, self._origin)
        finally:
            self._writing.is_nested = False
        return len(text)

    def close(self) -> None:
        """Log the last line too, if nothing ended it."""
        if self._held:
            self.write("\n")
        super().close()


def take_over_output() -> None:
    """Let everything this process says from now on be logged, the traceback of its end included."""
    sys.stdout, sys.stderr = LogWriter("stdout", sys.stdout), LogWriter("stderr", sys.stderr)
    logging.captureWarnings(True)
    sys.excepthook = log_crash
    threading.excepthook = lambda crash: log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)


def log_crash(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    logging.getLogger("server").critical("crash", exc_info=(kind, error or kind(), trace))
