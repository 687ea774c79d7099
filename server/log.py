"""Structured logs on standard error: JSON lines, or readable ones on a terminal. Libraries' own messages, too."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from types import TracebackType
from typing import Any, Final, Literal

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from server.redaction import Redaction

Log = FilteringBoundLogger
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

#: Libraries are never heard below this, whatever the level is: the details of some are the messages themselves.
_OF_LIBRARIES: Final = logging.ERROR


def configure(level: Level = "info", form: Format = "auto", *, secrets: Collection[str] = ()) -> Log:
    """Set up logging for the process and give the first logger. `secrets` never show, wherever they stand."""
    readable = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        # Without the values of local variables, which may be anything.
        structlog.processors.format_exc_info,
        Redaction(secrets),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if readable
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level],
            # The record itself is no value of the line.
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=_OF_LIBRARIES, force=True)
    # It logs what anybody sends that is no HTTP, with a traceback and the bytes. Errors of handlers are logged by
    # server/http.py.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    logger: Log = structlog.get_logger()

    def unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            logger.critical("the process fails", exc_info=(kind, error, trace))

    sys.excepthook = unforeseen
    return logger
