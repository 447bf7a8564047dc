"""Work in a forked process, and what came of it through a pipe."""

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
    """Starts `work` at once, after `prepare`; `pid` is its process.

    What either raises counts as raised by `work`.

    A child whose parent has gone goes on: its pipe just has no reader.
    """

    def __init__(self, work: Callable[[], T], prepare: Callable[[], None]) -> None:
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reader)
            _run(work, prepare, writer)
        os.close(writer)

    def answers(self, seconds: float) -> bool:
        """Wait at most so long for the beginning of an answer, or the child's end; says whether it is there."""
        return bool(select.select([self._reader], [], [], max(0.0, seconds))[0])

    def result(self, died: Callable[[int], Exception]) -> T:
        """Wait for the end: what `work` returned (it must pickle), raising what it raised; ``died(status)``
        where it said nothing.
        """
        with os.fdopen(self._reader, "rb") as stream:
            data = stream.read()
        _, status = os.waitpid(self.pid, 0)
        if not data:
            raise died(status)
        ok, result = pickle.loads(data)  # noqa: S301 (our own child's words)
        if ok:
            return result  # type: ignore[no-any-return]
        raise result


def _run(work: Callable[[], Any], prepare: Callable[[], None], writer: int) -> None:
    """Never returns."""
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
