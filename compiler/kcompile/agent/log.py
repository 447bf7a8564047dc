"""The agent's log: one line an event, as text or JSON, with the facts as fields.

A logger is an object of its own agent. It isn't in logging's tree, so two agents share nothing.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from .record import Sync

__all__ = ["Form", "agent_log", "log_failure", "log_sync"]

Form = Literal["text", "json"]


def agent_log(
    stream: TextIO, form: Form = "text", *, verbose: bool = False, prefix: str = ""
) -> logging.Logger:
    """A logger that writes to `stream`. `verbose`: debug lines too. `prefix`: of each line of text.

    Fields are given as ``log.info("message", extra={"fields": {...}})``.
    """
    log = logging.Logger("kcompile", logging.DEBUG if verbose else logging.INFO)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json() if form == "json" else _Text(prefix))
    log.addHandler(handler)
    return log


def log_sync(log: logging.Logger, mode: str, sync: Sync, *, first: bool) -> None:
    """The line of a successful sync. One that wrote nothing is a debug line, unless it was the `first`."""
    fields = {
        "mode": mode,
        "sync": "full" if sync.full else "partial",
        "services": sync.services,
        "changes": sync.changes,
        "seconds": round(sync.seconds, 4),
        "waited": round(sync.waited, 4),
    }
    log.log(logging.INFO if sync.changes or first else logging.DEBUG, "synced", extra={"fields": fields})


def log_failure(log: logging.Logger, error: str, retry_in: float) -> None:
    """The line of a failed sync."""
    log.error("sync failed: %s", error, extra={"fields": {"retry_in": round(retry_in, 3)}})


class _Text(logging.Formatter):
    """``2026-11-30T19:45:00.123Z info synced services=1 changes=3``; an exception's lines follow."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_value(value)}" for name, value in _fields(record).items())
        line = f"{self._prefix}{_moment(record)} {record.levelname.lower()} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    """One object a line: `time`, `level`, `message`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", {})


def _value(value: Any) -> str:
    """A field's value, quoted where it would look like two."""
    text = str(value)
    plain = text and not any(c.isspace() or c in '"=' or not c.isprintable() for c in text)
    return text if plain else json.dumps(text)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
