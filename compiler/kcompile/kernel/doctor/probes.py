"""Probes modes nftables and iptables in a new netns: all features at once, one by one if that fails."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from ...errors import KernelError
from .. import iptables
from ..bpf import programs
from ..bpf.arrays import numpy_missing
from ..nftables import Nft
from . import features
from .attempts import Load, no_family, refused, restore, tool_missing
from .records import Lack, ModeProbe
from .scratch import Scratch

__all__ = ["probe"]

_LIBRARY = "libnftables.so.1"


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
        return "numpy" if numpy_missing() else programs.missing()
    if mode == "ipvs":
        found = [tool_missing(f"iptables-{backend}-restore") for backend in ("legacy", "nft")]
        return "" if "" in found else found[0]
    return tool_missing(f"{mode}-restore")


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
    wanted = features.iptables_features(backend)
    lacks: list[Lack] = []
    for family in (4, 6):
        absent = no_family(family)
        lacks += [absent] if absent else refused(wanted, family, restore(family, backend))
    return lacks
