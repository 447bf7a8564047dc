"""A Program, lowered or read back, as the frontends that it serves."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping

from ...program import Program
from ..base import FrontendView
from ..xtables.keys import ChainKey
from .chains import STICKY_NODE_PORTS, STICKY_VIPS
from .lower import halves
from .resources import FWMARK, ElementKey, RealServerKey, VirtualServerKey

__all__ = ["frontends"]

_COMMENT = re.compile(r'comment "([^" ]+) ([^"]+)"')
_MARK = re.compile(r"skbmark (\S+)")
_LED = re.compile(r"-p (\S+) .*--dport (\d+) .*--to-destination \[?(.+?)\]?:(\d+)$")
_Pools = Mapping[VirtualServerKey, list[tuple[str, bool]]]  # each real server, and whether it drains
_Led = dict[tuple[int, str, str, int], list[VirtualServerKey]]  # IP version, address or "", protocol, port


def frontends(program: Program) -> list[FrontendView]:
    """Every frontend, sorted by service; backends that outsiders reach come first, draining ones apart.

    Backends are in order of their addresses: IPVS lists them in the order in which they came, which a diff
    neither shows nor changes.
    """
    pools: dict[VirtualServerKey, list[tuple[str, bool]]] = {}
    for server in sorted((key for key in program if isinstance(key, RealServerKey)), key=_by_address):
        text = (
            f"[{server.ip}]:{server.real_port}" if server.version == 6 else f"{server.ip}:{server.real_port}"
        )
        pools.setdefault(server.virtual_server, []).append((text, program[server].weight == 0))
    led = _led(program)
    found: list[FrontendView] = []
    for key, options in program.items():
        if (
            isinstance(key, ElementKey)
            and key.set in ("FRONTENDS", "NODEPORTS")
            and (named := _COMMENT.search(options))
        ):
            address, _, rest = key.entry.partition(",")
            node_port = key.set == "NODEPORTS"
            if node_port and address != halves(key.version)[0]:
                continue
            found.append(_view(program, pools, led, key, named, rest, "" if node_port else address))
    return sorted(found, key=lambda f: (f.service, f.family, f.kind, f.address, f.protocol, f.port))


def _by_address(server: RealServerKey) -> tuple[bytes, int]:
    return socket.inet_pton(
        socket.AF_INET6 if server.version == 6 else socket.AF_INET, server.ip
    ), server.real_port


def _view(
    program: Program, pools: _Pools, led: _Led, key: ElementKey, named: re.Match[str], rest: str, address: str
) -> FrontendView:
    version, entry = key.version, key.entry
    protocol, _, number = rest.partition(":")
    servers: list[VirtualServerKey] = []
    if address:
        servers.append(VirtualServerKey(version, protocol, address, int(number)))
    elif mark := _MARK.search(program[key]):
        servers.append(VirtualServerKey(version, FWMARK, mark[1], 0))
    servers += reversed(led.get((version, address, protocol, int(number)), []))
    prefix = "" if address else "NP-"
    if mark := _MARK.search(program.get(ElementKey(version, f"{prefix}INSIDE", entry), "")):
        servers.append(VirtualServerKey(version, FWMARK, mark[1], 0))
    backends = [backend for server in servers for backend in pools.get(server, ())]
    live = tuple(dict.fromkeys(text for text, draining in backends if not draining))
    seconds = next((vs.timeout for s in servers if (vs := program.get(s)) is not None), 0)
    draining = tuple(sorted({text for text, is_draining in backends if is_draining}))
    refusal = next(
        (name for name in ("DROP", "REJECT") if ElementKey(version, f"{prefix}{name}", entry) in program), ""
    )
    # without a live server and without a refusal: what another mode has left of it (leaving.py)
    verdict = "dnat" if live else refusal.lower() or ("draining" if draining else "reject")
    return FrontendView(
        named[1],
        named[2],
        version,
        protocol.upper(),
        address or "*",
        int(number),
        verdict,
        live,
        seconds if live else 0,
        draining,
    )


def _led(program: Program) -> _Led:
    """The virtual servers that the clients of each address are led to, insiders' first."""
    found: _Led = {}
    for version in (4, 6):
        for chain in (STICKY_VIPS, STICKY_NODE_PORTS):
            for rule in program.get(ChainKey(f"ip{version}", "nat", chain), ()):
                if match := _LED.search(rule):
                    address = rule.partition("-d ")[2].partition("/")[0] if chain == STICKY_VIPS else ""
                    servers = found.setdefault((version, address, match[1], int(match[2])), [])
                    server = VirtualServerKey(version, match[1], match[3], int(match[4]))
                    if server not in servers:
                        servers.append(server)
    return found
