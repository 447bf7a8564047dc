"""The logs of pods, as the API gives them: of several at once, line by line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from ..errors import KcompileError
from .remote import Remote, path_of

__all__ = ["LogOptions", "show"]


class LogOptions(NamedTuple):
    """As kubectl's options; `container` None: the pod's first."""

    container: str | None = None
    tail: int | None = None
    previous: bool = False
    follow: bool = False


def show(
    remote: Remote,
    pods: Sequence[tuple[str, str]],
    asked: LogOptions,
    write: Callable[[bytes], object],
    *,
    prefixed: bool,
) -> None:
    """`write` the lines of the logs of `pods` (namespace, name); `prefixed`: each with the pod's name.

    :raises StatusError: for a pod whose log can't be read, where it is the only one
    """

    def copy(pod: tuple[str, str]) -> None:
        prefix = f"{pod[1]}: ".encode() if prefixed else b""
        for line in _lines(remote.stream(_path(pod, asked))):
            write(prefix + line)

    if len(pods) == 1 or not asked.follow:
        for pod in pods:
            copy(pod)
        return
    failed: list[KcompileError] = []

    def follow(pod: tuple[str, str]) -> None:
        try:
            copy(pod)
        except KcompileError as error:
            failed.append(error)

    threads = [threading.Thread(target=follow, args=(pod,), daemon=True) for pod in pods]
    for thread in threads:
        thread.start()
    with contextlib.suppress(KeyboardInterrupt):
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _path(pod: tuple[str, str], asked: LogOptions) -> str:
    given = {
        "container": asked.container,
        "tailLines": asked.tail,
        "previous": "true" if asked.previous else None,
        "follow": "true" if asked.follow else None,
    }
    query = urlencode({name: value for name, value in given.items() if value is not None})
    return f"{path_of('Pod', *pod)}/log?{query}"


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines, each with its end; a last one without end gets one."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest + b"\n"
