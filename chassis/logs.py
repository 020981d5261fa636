"""One pipeline for all log records, our own and those of libraries; facts as log lines."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from chassis.fact_lines import FIELDS, FactLog
from chassis.tracing import current_trace_id

# At their lower levels these write messages and SQL parameters, which may be personal data.
_TALKATIVE: Final = ("sqlalchemy", "alembic", "asyncio", "urllib3")
# A lost connection is a page of tracebacks to these, and one line to us: ConnectionChanged.
_SILENT: Final = ("aiormq", "aio_pika", "sqlalchemy.pool")
_MULTILINE: Final = frozenset({"exception", "stack"})

log_fact: Final = FactLog()
"""A listener that writes facts to the log; payloads never."""


def configure(
    *, log_format: str | None = None, log_level: str = "info", stream: TextIO | None = None
) -> None:
    """Send everything to `stream` (stderr by default) as `console` or `json` lines.

    Without a format, which is for the time before settings are known: what SAGA_LOG_FORMAT
    says, else console on a terminal. Replaces what was configured before. Timestamps are
    UTC; tracebacks show no variables.
    """
    output = stream if stream is not None else sys.stderr
    renderer = _json() if (log_format or _likely_format(output)) == "json" else _console(output)
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[
                structlog.stdlib.ExtraAdder(allow={"stack"}),
                *_shared(),
            ],
            renderer=renderer,
        )
    )
    # No line of ours says who wrote it, and to find out costs as much as the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(log_level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,  # all that can change hangs on the handler
    )


class _Formatter(ProcessorFormatter):
    """Lines about facts are many and made by us: they take a short way to the renderer."""

    def __init__(self, *, renderer: list[Processor], foreign_pre_chain: list[Processor]) -> None:
        processors = [ProcessorFormatter.remove_processors_meta, *renderer]
        super().__init__(processors=processors, foreign_pre_chain=foreign_pre_chain)
        self._line_processors = (
            structlog.contextvars.merge_contextvars,
            _add_trace_id,
            *renderer,
        )

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__.get(FIELDS)
        if fields is None:
            return super().format(record)
        moment = datetime.fromtimestamp(record.created, UTC).isoformat()
        line: Any = {
            **fields,
            "event": record.msg,
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": f"{moment.removesuffix('+00:00')}Z",
        }
        for process in self._line_processors:
            line = process(None, "", line)
        return str(line)


def _likely_format(output: TextIO) -> str:
    asked = os.environ.get("SAGA_LOG_FORMAT", "").lower()
    if asked in {"console", "json"}:
        return asked
    return "console" if output.isatty() else "json"


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
        structlog.processors.format_exc_info,
    ]


def _json() -> list[Processor]:
    return [structlog.processors.JSONRenderer(serializer=_as_json)]


_ENCODE: Final = json.JSONEncoder(default=repr).encode


def _as_json(event: EventDict, **_: Any) -> str:
    return _ENCODE(event)


def _console(output: TextIO) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=_wants_colors(output), exception_formatter=structlog.dev.plain_traceback
    )
    return [_without_control_characters, renderer]


def _wants_colors(output: TextIO) -> bool:
    """See no-color.org and force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or output.isatty()


def _add_trace_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    trace_id = current_trace_id()
    if trace_id is not None:
        event["trace_id"] = trace_id
    return event


def _without_control_characters(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Text from outside must not move the cursor, change colours or fake a line."""
    return {
        key: _escaped(value, "\n\t" if key in _MULTILINE else "")
        if isinstance(value, str)
        else value
        for key, value in event.items()
    }


def _escaped(text: str, allowed: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in allowed else c.encode("unicode_escape").decode() for c in text
    )
