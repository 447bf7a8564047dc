"""Follows manifests in files and folders: ``kcompile run -f DIR``.

inotify tells of a change (watches.py); a thread reads what changed (look.py) and completes the cluster
(manifests.py); what differs from what was given before goes to the sink. A file that is being written is
read once it is closed, and one that is broken keeps its last good state.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError, KcompileError
from ..source import Kind, Sink

if TYPE_CHECKING:
    from ...engine.request import Request
    from ...spec.config import Config
    from .look import Delta
    from .watches import Watches

__all__ = ["DirectorySource"]

_RESCAN = 60.0  # seconds: network file systems tell nothing of what other machines write


class DirectorySource:
    """The manifests that a Request names. They are read as ``apply`` reads them, and what they lack is
    allocated with the same memory.

    `pods`: give Pods too. `allocates`: False where only another process may write that memory; what it has
    written since is read then.
    """

    kinds: tuple[Kind, ...] = ("Node", "ServiceCIDR", "Namespace", "Service", "EndpointSlice")

    def __init__(
        self,
        request: Request,
        config: Config,
        log: logging.Logger | None = None,
        *,
        pods: bool = False,
        allocates: bool = True,
    ) -> None:
        self._request, self._config, self._allocates = request, config, allocates
        self.follows = ", ".join((*request.files, *request.kustomizations))
        self._log = logging.getLogger(__name__) if log is None else log
        if pods:
            self.kinds = (*self.kinds, "Pod")

    async def run(self, sink: Sink) -> None:
        """See `Source`. Nothing is listed before every file is good, once.

        :raises InputError: for a path that isn't there, or standard input
        """
        from .look import Reader
        from .watches import Watches

        _require_paths(self._request)
        loop = asyncio.get_running_loop()
        watches = Watches()
        pool = ThreadPoolExecutor(1, "kcompile-files")
        try:
            make = partial(Reader, kinds=self.kinds, allocates=self._allocates)
            given = self._request, self._config, watches, self._log
            reader = await loop.run_in_executor(pool, make, *given)
            said = ""
            while True:
                looked = await loop.run_in_executor(pool, reader.look, _RESCAN)
                if looked.delta is not None:
                    _give(sink, looked.delta)
                said = _say(sink, looked.error, said)
                if not looked.again:
                    await _event(loop, watches)
        finally:
            pool.submit(watches.close)  # after a look that is under way
            pool.shutdown(wait=False)


def _require_paths(request: Request) -> None:
    if "-" in request.files:
        raise InputError("run -f -: standard input can't be followed; give a file or a directory")
    for path in (*request.files, *request.kustomizations):
        if not Path(path).exists():
            raise InputError(f"{path}: no such file or directory")


async def _event(loop: asyncio.AbstractEventLoop, watches: Watches) -> None:
    """Wait for an event, at most _RESCAN seconds."""
    came = asyncio.Event()
    loop.add_reader(watches.inotify, came.set)
    try:
        async with asyncio.timeout(_RESCAN):
            await came.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(watches.inotify)


def _give(sink: Sink, delta: Delta) -> None:
    for kind, objects in delta.listed.items():
        sink.listed(kind, objects)
    for kind, item in delta.put:
        sink.put(kind, item)
    for kind, name in delta.gone:
        sink.gone(kind, *name)


def _say(sink: Sink, error: KcompileError | None, said: str) -> str:
    """Tell of `error`, or that it is over; each once. `said` is the last one that was told."""
    text = str(error) if error else ""
    if text == said:
        return said
    if error is None:
        sink.recovered("Service")
    else:
        sink.failed("Service", error)
    return text
