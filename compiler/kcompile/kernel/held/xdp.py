"""Mode xdp held open: its maps, and the numbers that are in them."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence

from ...notices import Notice
from ...program import Change, Program, diff
from ...targets.xdp.resources import AttachKey, InterfaceKey
from .. import netns
from ..bpf.compare import Comparison
from ..drivers import XdpDriver

__all__ = ["HeldXdp"]

_NODE = (AttachKey, InterfaceKey)


class HeldXdp:
    """Each apply writes the entries of its changes, and looks at pins and programs only to attach some."""

    def __init__(self, driver: XdpDriver) -> None:
        self._kernel = driver.kernel
        if not self._kernel.is_read:
            self._kernel.observe()
        self._attached = self._kernel.attachments()  # less than expected, where the kernel refuses XDP
        self._comparison: Comparison | None = None

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        if not self._kernel.is_read or any(isinstance(change.key, _NODE) for change in changes):
            self._comparison = None
            warnings = self._kernel.apply(changes)
            self._attached = self._kernel.attachments()
            return warnings
        generation = self._kernel.generation
        self._kernel.write(changes)
        if self._kernel.generation != generation:
            self._comparison = None  # it is of the maps that have been replaced
        return []

    def touched(self) -> bool:
        return False

    def others(self, _: Collection[int]) -> bool:
        return False

    def differs(self, expected: Program) -> bool:
        if not self._kernel.is_read:
            return bool(expected) or bool(self._kernel.observe())
        state = self._kernel.state()
        if self._kernel.attachments() != self._attached:
            return True
        if state.program != expected and _differ_in_maps(state.program, expected):
            return True
        state.program = dict(expected)  # one set of objects in memory instead of two equal ones
        if self._comparison is None:
            self._comparison = Comparison(self._kernel.maps(), state)
        indices = {name: index for index, name in socket.if_nameindex()}
        return self._comparison.differs(netns.cookie(), indices)

    def filling(self) -> dict[str, tuple[int, int]]:
        return self._kernel.filling()

    def housekeep(self, _: Program, /) -> bool:
        return False

    def close(self) -> None:
        """Maps and links are pinned."""


def _differ_in_maps(held: Program, expected: Program) -> bool:
    return any(not isinstance(change.key, AttachKey) for change in diff(held, expected))
