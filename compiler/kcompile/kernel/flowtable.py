"""The flowtable of the current network namespace (targets/flowtable.py): read, written, and whether the
kernel has such a thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import KernelError, UnsupportedError
from ..program import Change, Key, Program
from ..targets.flowtable import (
    FAMILY,
    TABLE,
    FlowtableDeviceKey,
    FlowtableKey,
    chosen,
    parse,
    probe_script,
    render,
)
from .facts import links
from .nftables import Nft, has_table, table_flags

__all__ = ["apply", "expanded", "lacking", "observe", "require"]


def observe() -> dict[Key, Any]:
    """Our flowtable, as it is."""
    if not has_table(FAMILY, TABLE):
        return {}
    with Nft() as nft:
        listed = nft.items(f"list table {FAMILY} {TABLE}", numeric=True)
    return parse(listed, table_flags(FAMILY, TABLE))


def expanded(desired: Program) -> dict[Key, Any]:
    """`desired` with the interfaces that there are in the place of patterns."""
    patterns = [key.name for key in desired if isinstance(key, FlowtableDeviceKey)]
    names = chosen(links(), patterns) if patterns else ()
    kept = {key: value for key, value in desired.items() if not isinstance(key, FlowtableDeviceKey)}
    return kept | {FlowtableDeviceKey(name): "" for name in names}


def apply(changes: Iterable[Change], desired: Program) -> int:
    """Make the `changes` of a flowtable that is to be as `desired`; returns how many transactions that took.

    Raises KernelError.
    """
    changes = list(changes)
    whole = any(isinstance(change.key, FlowtableKey) and change.new is not None for change in changes)
    devices = [key.name for key in expanded(desired) if isinstance(key, FlowtableDeviceKey)] if whole else []
    script = render(changes, devices)
    if not script:
        return 0
    with Nft() as nft:
        nft.apply(script)
    return 1


def lacking() -> str:
    """What the kernel says to a flowtable, where it has none; empty where it has. Changes nothing."""
    try:
        with Nft() as nft:
            nft.check(probe_script())
    except (KernelError, UnsupportedError) as error:
        return str(error)
    return ""


def require() -> None:
    """Raises UnsupportedError where the kernel has no flowtables."""
    if said := lacking():
        raise UnsupportedError(
            "--fast-path flowtable: this kernel has no flowtables (CONFIG_NF_FLOW_TABLE_INET, "
            f"CONFIG_NFT_FLOW_OFFLOAD): {said}"
        )
