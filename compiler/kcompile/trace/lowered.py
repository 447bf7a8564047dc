"""The base chains of a lowered Program, of whatever target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..program import Key
from ..targets.ipvs.resources import AddressKey
from ..targets.xtables import keys as xtables
from .chains import BaseChain
from .iptables import from_program as from_iptables
from .ipvs import from_program as from_ipvs
from .ipvs import sets_of_program
from .nft import from_program as from_nft
from .packet import Host
from .xdp import from_program as from_xdp

__all__ = ["base_chains", "host_with"]


def base_chains(program: Mapping[Key, Any]) -> list[BaseChain]:
    """The chains of a Program of any target."""
    if any(isinstance(key, xtables.RuleKey) for key in program):
        return [*from_iptables(program), *from_ipvs(program)]
    return [*from_nft(program), *from_xdp(program)]


def host_with(program: Mapping[Key, Any], host: Host) -> Host:
    """`host` with the addresses and the ipsets that a Program of targets/ipvs gives it."""
    own = [key.address for key in program if isinstance(key, AddressKey)]
    return msgspec.structs.replace(
        host, addresses=host.addresses.union(own), sets={**host.sets, **sets_of_program(program)}
    )
