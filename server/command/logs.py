"""Where log lines go and how they look: one pipeline for structlog and for the standard library's loggers."""

import logging
import sys

import structlog
from structlog.typing import Processor

from beamhouse.config.settings import ServerSettings

QUIET = ("httpx", "httpx2", "httpcore", "httpcore2", "asyncio", "sse_starlette", "uvicorn.error")
"""Libraries whose lines below a warning say nothing to an operator, or, with the text of a stream, too much."""


def configure_logs(settings: ServerSettings) -> None:
    """Send every line of the process to stderr, as text for people or as one JSON object per line for machines."""
    is_json = settings.logs_json
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if is_json else structlog.processors.StackInfoRenderer(),
    ]
    # The console's own tracebacks show local variables, and prompts are among them.
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    renderer: Processor = structlog.processors.JSONRenderer() if is_json else console
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
