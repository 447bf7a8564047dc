"""An API server (kcompile.apiserver) in a process of its own, and its other end in the benchmark.

As a program it loads a cluster, prints its URL, and then makes the changes that come in on stdin, a line of
JSON each: ``{"put": [...], "delete": [[kind, namespace, name], ...]}``. It answers with the moment before
the change, in seconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Self

from kcompile import spawn

from ..generate import Scale
from .objects import Object, cluster

__all__ = ["ApiServer"]


class ApiServer:
    """The server with the objects of `scale`; a context manager. Any thread may make changes."""

    def __init__(self, scale: Scale) -> None:
        self._lock = threading.Lock()
        self._process = spawn.popen(
            spawn.python("kcompile_bench.agent.server", str(scale)), stdin=-1, stdout=-1
        )
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        self.pid: int = self._process.pid
        ready = self._answer()
        self.host, self.port, self.version = ready["host"], ready["port"], ready["version"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._process.wait()
        self._answers.close()

    def put(self, *objects: Object) -> float:
        """Add or replace; returns the moment before."""
        return float(self._ask({"put": objects}))

    def delete(self, *objects: Object) -> float:
        """Remove; returns the moment before."""
        meta = [(each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]) for each in objects]
        return float(self._ask({"delete": meta}))

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig in `folder` that leads here."""
        path = folder / "kubeconfig"
        url = f"http://{self.host}:{self.port}"
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
        }
        path.write_text(json.dumps(config))
        return path

    def _ask(self, request: dict[str, Any]) -> Any:
        with self._lock:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
            return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the API server has ended")
        return json.loads(line)


def _main() -> None:
    import asyncio

    from kcompile.apiserver import Store, serve

    store = Store()
    for item in cluster(Scale.parse(sys.argv[1])):
        store.put(item)
    gc.freeze()  # a collection of the server's would be time of the agent's

    def change(line: bytes) -> float:
        request = json.loads(line)
        at = time.monotonic()
        for item in request.get("put", ()):
            store.put(item)
        for key in request.get("delete", ()):
            store.delete(*key)
        return at

    def changes() -> None:
        for line in sys.stdin.buffer:
            print(change(line), flush=True)

    async def run() -> None:
        async with serve(store) as server:
            host, _, port = server.url.removeprefix("http://").rpartition(":")
            ready = {"host": host, "port": int(port), "version": store.version}
            print(json.dumps(ready), flush=True)
            await asyncio.to_thread(changes)

    asyncio.run(run())


if __name__ == "__main__":
    _main()
