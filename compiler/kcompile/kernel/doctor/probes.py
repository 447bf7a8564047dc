"""Probes modes nftables and iptables in a new netns: all features at once, one by one if that fails."""

from __future__ import annotations

import ctypes
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from ... import spawn
from ...errors import KernelError
from .. import iptables, sysctl
from ..bpf.arrays import numpy_missing
from ..bpf.compiler import DEBIAN
from ..nftables import Nft
from . import features
from .features import Feature, filled
from .records import Lack, ModeProbe
from .scratch import Scratch

__all__ = ["probe", "refused", "tool_missing"]

Load = Callable[[Sequence[Feature]], None]
_LIBRARY = "libnftables.so.1"
_TOOL = re.compile(r"^\S+: (?:\S+ v[\d.]+ \(\w+\):? ?)?(?:line \d+: )?(?:Could not process rule: )?")
_LATER = re.compile(r" line \d+: .*|: [:*-].*")


def probe(modes: Sequence[str]) -> Callable[[], tuple[ModeProbe, ...]]:
    """Start probing `modes`; the returned function waits, and returns a ModeProbe for each, in this order."""
    pending = [(mode, _tool(mode)) for mode in modes]
    running = [(mode, tool, None if tool else Scratch(_work(mode))) for mode, tool in pending]

    def outcomes() -> tuple[ModeProbe, ...]:
        return tuple(_outcome(mode, tool, scratch) for mode, tool, scratch in running)

    return outcomes


def _outcome(mode: str, tool: str, scratch: Scratch[list[Lack]] | None) -> ModeProbe:
    if scratch is None:
        return ModeProbe(mode, tool=tool)
    try:
        return ModeProbe(mode, tuple(scratch.result()))
    except KernelError as e:
        return ModeProbe(mode, unknown=str(e))


def _tool(mode: str) -> str:
    """A file that `mode` needs and that is missing; empty if none is."""
    if mode == "nftables":
        try:
            ctypes.CDLL(_LIBRARY)
        except OSError:
            return _LIBRARY
        return ""
    if mode == "xdp":
        if numpy_missing():
            return "numpy"
        return "" if DEBIAN.exists() else str(DEBIAN)
    if mode == "ipvs":
        found = [tool_missing(f"iptables-{backend}-restore") for backend in ("legacy", "nft")]
        return "" if "" in found else found[0]
    return tool_missing(f"{mode}-restore")


def tool_missing(name: str) -> str:
    """`name` if there is no such command, else empty."""
    return "" if spawn.find(name) else name


def _work(mode: str) -> Callable[[], list[Lack]]:
    if mode == "nftables":
        return _nftables
    if mode == "ipvs":
        from .ipvs import work

        return work
    if mode == "xdp":
        from .xdp import work

        return work
    return lambda: _iptables("legacy" if mode == "iptables-legacy" else "nft")


def refused(wanted: Sequence[Feature], family: int, load: Load) -> list[Lack]:
    """The features of `wanted` that `load` can't load, with the kernel's message.

    Only the first, if that one is refused: the others need it.
    """
    lacks: list[Lack] = []
    loaded = [feature for feature in wanted if feature.rules]
    try:
        load(loaded)
    except KernelError as together:
        if base := _alone(loaded[0], family, load):
            return [base]
        lacks = [lack for feature in loaded if (lack := _alone(feature, family, load))]
        if not lacks:
            lacks = [Lack("all features together", family, _words(together))]
    for feature in wanted:
        if feature.sysctl and sysctl.read(feature.sysctl) is None:
            lacks.append(_lack(feature, family, f"no sysctl {feature.sysctl}"))
    return lacks


def _alone(feature: Feature, family: int, load: Load) -> Lack | None:
    try:
        load([feature])
    except KernelError as e:
        return _lack(feature, family, _words(e))
    return None


def _words(error: KernelError) -> str:
    """The first error only: iptables-nft-restore prints one for each later line too."""
    return _LATER.sub("", _TOOL.sub("", str(error)))


def _lack(feature: Feature, family: int, message: str) -> Lack:
    return Lack(
        feature.name, family, message, tuple(filled(m, family) for m in feature.modules), feature.costs
    )


def no_family(family: int) -> Lack | None:
    """A Lack if `family` is 6 and IPv6 is not built in or is disabled; else None."""
    if family == 4:
        return None
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()  # has the kernel load it
    except OSError as e:
        return Lack("IPv6", 6, str(e.strerror), ("ipv6",))
    return None if Path("/proc/sys/net/ipv6").exists() else Lack("IPv6", 6, "it has no sysctls")


def _nftables() -> list[Lack]:
    lacks: list[Lack] = []
    with Nft() as nft:

        def load(family: int) -> Load:
            return lambda wanted: nft.apply(features.nft_script(wanted, family))

        for family in (4, 6):
            absent = no_family(family)
            lacks += [absent] if absent else refused(features.NFTABLES, family, load(family))
    return lacks


def _iptables(backend: iptables.Backend) -> list[Lack]:
    lacks: list[Lack] = []
    for family in (4, 6):
        absent = no_family(family)
        lacks += (
            [absent]
            if absent
            else refused(features.iptables_features(backend), family, restore(family, backend))
        )
    return lacks


def restore(family: int, backend: iptables.Backend) -> Load:
    """A loader of iptables rules."""
    return lambda wanted: iptables.apply({f"ip{family}": features.iptables_script(wanted, family)}, backend)
