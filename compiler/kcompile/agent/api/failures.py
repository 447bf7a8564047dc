"""What can go wrong with a request, told apart by what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from ...errors import ApiError
from ...spec.text import printable

__all__ = ["CutError", "ExpiredError", "RefusedError", "SilentError", "refusal", "translated"]

_LONGEST_TEXT = 200  # characters of an answer that isn't a Status


class RefusedError(ApiError):
    """The server answered with an error.

    `status`: the HTTP status, or the code of an ERROR event. `retry_after`: seconds, None where not given.
    """

    def __init__(self, message: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class ExpiredError(RefusedError):
    """The resourceVersion or the continue token is too old, or newer than the server: list again."""


class CutError(ApiError):
    """The connection was refused or broke, or the stream ended in the middle."""


class SilentError(ApiError):
    """An open watch brought no event and no bookmark for too long."""


class _Cause(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: int | None = None
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


_status = msgspec.json.Decoder(_Status).decode


def refusal(
    body: bytes, what: str, status: int = 0, headers: Mapping[str, str] | None = None
) -> RefusedError:
    """The error that a Status object says, or any other text that came with the HTTP `status`.

    `what` was asked for, for the message.
    """
    try:
        said = _status(body)
    except msgspec.MsgspecError:
        said = _Status(message=body[:_LONGEST_TEXT].decode(errors="replace").strip())
    details = said.details or _Details()
    code = status or said.code
    after = _seconds((headers or {}).get("retry-after")) or details.retry_after_seconds
    message = f"{what}: {code} {printable(said.message or said.reason or 'no reason given')}"
    ahead = any(cause.reason == "ResourceVersionTooLarge" for cause in details.causes or ())
    return (ExpiredError if code == 410 or ahead else RefusedError)(message, code, after)


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; None for one that is absent or a date."""
    return float(text) if text and text.isascii() and text.isdigit() else None


_NO_ATTEMPT = "All connection attempts failed"  # anyio's, which tries every address of a name


def _cause(error: BaseException) -> BaseException:
    """What is at the bottom of `error`; of several attempts, that of the first."""
    while below := error.exceptions if isinstance(error, BaseExceptionGroup) else _below(error):
        error = below[0]
    return error


def _below(error: BaseException) -> tuple[BaseException, ...]:
    found = error.__cause__ or error.__context__
    return () if found is None else (found,)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Make the errors of the HTTP library, TLS and sockets a CutError that says `what` was asked for."""
    import httpx2

    try:
        yield
    except httpx2.TimeoutException as error:
        raise CutError(f"{what}: no answer in time ({_words(error)})") from error
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError, TimeoutError) as error:
        raise CutError(f"{what}: {_words(error)}") from error


def _words(error: Any) -> str:
    """The message of an error, or of what caused it, else that it happened."""
    if str(error) == _NO_ATTEMPT:
        error = _cause(error)
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno)
    text = str(error) or str(error.__cause__ or "") or f"the connection broke ({type(error).__name__})"
    return printable(" ".join(text.split()))
