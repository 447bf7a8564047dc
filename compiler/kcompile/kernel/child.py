"""A function run in a forked process; its result or exception comes back through a pipe."""

from __future__ import annotations

import os
import pickle
import select
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..errors import KernelError

__all__ = ["Child"]

T = TypeVar("T")


class Child(Generic[T]):
    """Forks at once and calls `prepare`, then `work`, in the child; `pid` is the child's.

    An exception of `prepare` counts as one of `work`. The child goes on when its parent dies.
    """

    def __init__(self, work: Callable[[], T], prepare: Callable[[], None]) -> None:
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reader)
            _run(work, prepare, writer)
        os.close(writer)

    def answers(self, seconds: float) -> bool:
        """Wait at most `seconds`; True once the child has begun to answer, or has ended."""
        return bool(select.select([self._reader], [], [], max(0.0, seconds))[0])

    def result(self, died: Callable[[int], Exception]) -> T:
        """Wait for the child to end; returns what `work` returned (it must pickle), raises what it raised.

        Raises ``died(status)`` where the child ended without an answer.
        """
        with os.fdopen(self._reader, "rb") as stream:
            data = stream.read()
        _, status = os.waitpid(self.pid, 0)
        if not data:
            raise died(status)
        ok, result = pickle.loads(data)  # noqa: S301 (our own child wrote it)
        if ok:
            return result  # type: ignore[no-any-return]
        raise result


def _run(work: Callable[[], Any], prepare: Callable[[], None], writer: int) -> None:
    """The child's life; never returns."""
    try:
        try:
            prepare()
            result = (True, work())
        except Exception as e:
            result = (False, e)
        try:
            data = pickle.dumps(result)
        except Exception:
            data = pickle.dumps((False, KernelError(str(result[1]))))
        view = memoryview(data)
        while view:
            view = view[os.write(writer, view) :]
    except OSError:  # nobody listens any more
        pass
    finally:
        os._exit(0)
