"""Resources that are one map entry each: where a resource is, and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...program import Key
from ...targets.xdp import layout
from ...targets.xdp.resources import (
    AddressKey,
    ConfigKey,
    FrontendKey,
    InterfaceKey,
    LocalKey,
    RangeKey,
    Service,
)
from . import entries
from .observe import State

__all__ = ["packed_value", "place_of"]

_IN_RANGE = layout.RANGE.pack(1)


def place_of(key: Key, state: State, index_of: Mapping[str, int]) -> tuple[str, bytes] | None:
    """The map and the key of the entry of resource `key`; None where it isn't one entry, or its interface is
    gone.

    `index_of`: interface name -> index.
    """
    match key:
        case FrontendKey(version, protocol, address, port):
            return f"frontends{version}", entries.frontend_key(version, protocol, address, port)
        case AddressKey(version, address):
            return f"frontends{version}", entries.frontend_key(version, "", address, 0)
        case RangeKey():
            number = state.services[key.owner]
            return f"ranges{key.version}", entries.range_key(key.version, number, key.cidr)
        case LocalKey(version, address):
            return f"locals{version}", entries.packed(version, address)
        case InterfaceKey(name) if name in index_of:
            return "interfaces", layout.INDEX.pack(index_of[name])
        case ConfigKey():
            return "config", layout.INDEX.pack(0)
    return None


def packed_value(key: Key, value: Any, state: State, netns: int) -> bytes:
    """The value of the entry of resource `key`, a single one. `netns`: the namespace's cookie."""
    match key:
        case FrontendKey(version=version, protocol=protocol):
            return entries.frontend_entry(value, state.services[Service(version, protocol, value.service)])
        case AddressKey():
            return entries.address_entry(value)
        case LocalKey():
            return entries.local_entry(value)
        case InterfaceKey():
            return entries.interface(value)
        case ConfigKey():
            return entries.config(value, netns)
    return _IN_RANGE
