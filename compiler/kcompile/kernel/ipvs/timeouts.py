"""IPVS's timeouts in the current netns, by generic netlink (IPVS_CMD_SET_CONFIG in ip_vs_ctl.c)."""

from __future__ import annotations

import os
import struct

from ...errors import KernelError, UnsupportedError
from ..netlink import NETLINK_GENERIC, Netlink, attribute, attributes, generic_family
from .messages import GET_CONFIG, SET_CONFIG, header

__all__ = ["read", "write"]

_KINDS = {"tcp": 4, "tcpfin": 5, "udp": 6}  # IPVS_CMD_ATTR_TIMEOUT_*
_u32 = struct.Struct("=I")


def read(name: str) -> str | None:
    """Timeout `name` (``tcp``, ``tcpfin``, ``udp``) in seconds, as text; None where IPVS isn't loaded."""
    with Netlink(NETLINK_GENERIC) as netlink:
        try:
            answer = netlink.ask(generic_family(netlink, "IPVS"), header(GET_CONFIG))
        except (UnsupportedError, OSError):
            return None
    for kind, at, _ in attributes(answer, 4, len(answer)):
        if kind == _KINDS[name]:
            return str(_u32.unpack_from(answer, at)[0])
    return None


def write(name: str, value: str) -> None:
    """Set timeout `name` to `value` seconds, and no other one; raises KernelError where that is refused."""
    refused: list[int] = []
    with Netlink(NETLINK_GENERIC) as netlink:
        payload = header(SET_CONFIG) + attribute(_KINDS[name], _u32.pack(int(value)))
        request = generic_family(netlink, "IPVS"), 0, payload
        netlink.send([request], lambda _, code, __: refused.append(code))
    if refused:
        raise KernelError(f"ipvs timeout {name} = {value}: {os.strerror(refused[0])}")
