"""Warnings in the log: those that last are written once, not at each sync."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ..engine.request import Request
from ..ir.model import Dataplane
from ..kernel.bpf.flows import nearly_full
from ..modes import Mode
from ..notices import Notice
from ..spec.config import Config

__all__ = ["Warnings"]


class Warnings:
    """The warnings of one agent, without those that `request` drops."""

    def __init__(self, request: Request, log: logging.Logger) -> None:
        self._request, self._log = request, log
        self._limits: set[Notice] = set()
        self._lacks = ""
        self._full: set[str] = set()  # maps of connections

    def notices(self, notices: Iterable[Notice]) -> None:
        """Write each of them."""
        for notice in self._request.heard(notices):
            self._log.warning("%s [%s]", notice, notice.id)

    def configuration(self, config: Config) -> None:
        """Name the fields of a configuration that have no effect."""
        self.notices(Notice("config", text) for text in config.warnings)

    def limits(self, mode: Mode, dataplane: Dataplane, *, whole: bool) -> None:
        """Name what `mode` can't do of `dataplane`. `whole`: it has all ports, else those that changed."""
        found = mode.limits(dataplane)
        self.notices(notice for notice in found if notice not in self._limits)
        if whole:
            self._limits.clear()
        self._limits.update(found)

    def filling(self, filling: Mapping[str, tuple[int, int]]) -> None:
        """Name the maps of connections that have become nearly full (XdpKernel.filling)."""
        full = nearly_full(filling)
        for name in sorted(full - self._full):
            count, room = filling[name]
            self._log.warning(
                "map %s holds %d of %d entries; past that, connections that have been silent longest are "
                "forgotten (--xdp-capacity %s=%d)",
                *(name, count, room, name, 4 * room),
            )
        self._full = full

    def node(self, lacks: str) -> None:
        """Say what the cluster `lacks` of this node, if anything."""
        if lacks and lacks != self._lacks:
            self._log.warning("%s", lacks)
        self._lacks = lacks
