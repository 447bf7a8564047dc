"""Loading features to see which ones the kernel refuses: shared by the probes of all modes with rules."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from ... import spawn
from ...errors import KernelError
from .. import iptables, sysctl
from . import features
from .features import Feature, filled
from .records import Lack

__all__ = ["Load", "no_family", "refused", "restore", "tool_missing"]

Load = Callable[[Sequence[Feature]], None]
"""Loads features into the kernel; raises KernelError where it refuses them."""

_TOOL = re.compile(r"^\S+: (?:\S+ v[\d.]+ \(\w+\):? ?)?(?:line \d+: )?(?:Could not process rule: )?")
_LATER = re.compile(r" line \d+: .*|: [:*-].*")


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
    modules = tuple(filled(module, family) for module in feature.modules)
    return Lack(feature.name, family, message, modules, feature.costs)


def no_family(family: int) -> Lack | None:
    """A Lack if `family` is 6 and IPv6 is not built in or is disabled; else None."""
    if family == 4:
        return None
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()  # has the kernel load it
    except OSError as e:
        return Lack("IPv6", 6, str(e.strerror), ("ipv6",))
    return None if Path("/proc/sys/net/ipv6").exists() else Lack("IPv6", 6, "it has no sysctls")


def restore(family: int, backend: iptables.Backend) -> Load:
    """A loader of iptables rules."""
    return lambda wanted: iptables.apply({f"ip{family}": features.iptables_script(wanted, family)}, backend)


def tool_missing(name: str) -> str:
    """`name` if there is no such command, else empty."""
    return "" if spawn.find(name) else name
