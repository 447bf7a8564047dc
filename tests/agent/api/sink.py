"""A sink that keeps what it is given, and waits for it to be so."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable

from kcompile.agent.source import Kind
from kcompile.errors import KcompileError
from kcompile.spec.objects import Object

__all__ = ["Held"]


class Held:
    """`objects` by kind and ``namespace/name``; `calls` in their order, as text; `errors` that came."""

    def __init__(self) -> None:
        self.objects: dict[Kind, dict[str, Object]] = defaultdict(dict)
        self.calls: list[str] = []
        self.restarts = 0
        self.errors: list[str] = []
        self._changed = asyncio.Event()

    def listed(
        self, kind: Kind, objects: Iterable[Object], unreadable: Iterable[tuple[str, str]] = ()
    ) -> None:
        stays = {f"{namespace}/{name}" for namespace, name in unreadable}
        before = {key: each for key, each in self.objects[kind].items() if key in stays}
        self.objects[kind] = before | {_key(each): each for each in objects}
        self._note(f"listed {kind} {len(self.objects[kind])}")

    def put(self, kind: Kind, item: Object) -> None:
        self.objects[kind][_key(item)] = item
        self._note(f"put {_key(item)}")

    def gone(self, kind: Kind, namespace: str, name: str) -> None:
        del self.objects[kind][f"{namespace}/{name}"]
        self._note(f"gone {namespace}/{name}")

    def bad(self, kind: Kind, namespace: str, name: str, error: KcompileError) -> None:
        self.errors.append(str(error))
        self._note(f"bad {kind} {namespace}/{name}")

    def failed(self, kind: Kind, error: KcompileError) -> None:
        self.errors.append(str(error))
        self._note(f"failed {kind}")

    def restarted(self, _: Kind) -> None:
        self.restarts += 1

    def recovered(self, kind: Kind) -> None:
        self._note(f"recovered {kind}")

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until a call makes `condition` true."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError((self.calls[-20:], self.errors[-5:])) from None

    async def settled(self, calls: int) -> None:
        """Wait for so many calls more, or for what may never come no longer than a moment."""
        wanted = len(self.calls) + calls
        with contextlib.suppress(AssertionError):
            await self.until(lambda: len(self.calls) >= wanted, seconds=0.02)

    def nudge(self) -> None:
        """Look at the condition that is waited for again."""
        self._changed.set()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._changed.set()


def _key(item: Object) -> str:
    return f"{item.metadata.namespace}/{item.metadata.name}"
