"""One selector for the sockets of all namespaces: serves listeners, taps and the probe under way in turn."""

from __future__ import annotations

import concurrent.futures
import selectors
import socket
import time
from collections.abc import Callable
from typing import Self

__all__ = ["Loop"]


class Loop:
    """Calls a socket's callback when it can be read (or has an error).

    Owns the sockets: `close` closes them all.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, sock: socket.socket, callback: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, callback)

    def discard(self, sock: socket.socket) -> None:
        """Forget and close one socket."""
        self._selector.unregister(sock)
        sock.close()

    def turn(self, timeout: float = 0.0) -> bool:
        """Serve whatever is ready, waiting up to `timeout` for the first; False when nothing was."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def drain(self) -> None:
        """Serve until nothing is ready."""
        while self.turn():
            pass

    def run(self, done: Callable[[], bool], timeout: float) -> bool:
        """Serve until `done()` or `timeout` seconds have passed; says whether `done()` held."""
        end = time.monotonic() + timeout
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.turn(left)
        return True

    def close(self) -> None:
        """Close all sockets, side by side: the kernel takes 10 ms and more over each packet socket."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for key in list(self._selector.get_map().values()):
                pool.submit(key.fileobj.close)  # type: ignore[union-attr]
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
