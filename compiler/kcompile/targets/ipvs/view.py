"""A Program, lowered or read back, as the frontends that it serves."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

from ..base import FrontendView, Key, Program
from .chains import STICKY_NODE_PORTS, STICKY_VIPS
from .lower import halves
from .resources import FWMARK

__all__ = ["frontends"]

_COMMENT = re.compile(r'comment "([^" ]+) ([^"]+)"')
_MARK = re.compile(r"skbmark (\S+)")
_LED = re.compile(r"-p (\S+) .*--dport (\d+) .*--to-destination \[?(.+?)\]?:(\d+)$")
_Server = tuple[str, str, int]  # protocol, address, port
_Pools = Mapping[tuple[int, *_Server], list[tuple[str, bool]]]


def frontends(program: Program) -> list[FrontendView]:
    """Every frontend, sorted by service; backends that outsiders reach come first, draining ones apart.

    Backends are in order of their addresses: IPVS lists them in the order in which they came, which no diff can see or mend.
    """
    pools: dict[tuple[int, *_Server], list[tuple[str, bool]]] = {}
    for key, value in sorted(((k, v) for k, v in program.items() if k[0] == "rs"), key=_by_address):
        text = f"[{key[5]}]:{key[6]}" if key[1] == 6 else f"{key[5]}:{key[6]}"
        pools.setdefault(key[1:5], []).append((text, value.weight == 0))
    led = _led(program)
    found: list[FrontendView] = []
    for key, options in program.items():
        if key[0] == "element" and key[2] in ("FRONTENDS", "NODEPORTS") and (named := _COMMENT.search(options)):
            address, _, rest = key[3].partition(",")
            node_port = key[2] == "NODEPORTS"
            if node_port and address != halves(key[1])[0]:
                continue
            found.append(_view(program, pools, led, key, named, rest, "" if node_port else address))
    return sorted(found, key=lambda f: (f.service, f.family, f.kind, f.address, f.protocol, f.port))


def _by_address(server: tuple[Key, Any]) -> tuple[bytes, int]:
    key, _ = server
    return socket.inet_pton(socket.AF_INET6 if key[1] == 6 else socket.AF_INET, key[5]), key[6]


def _view(
    program: Program, pools: _Pools, led: dict[tuple[Any, ...], list[_Server]], key: Key, named: re.Match[str], rest: str, address: str
) -> FrontendView:
    version, entry = key[1], key[3]
    protocol, _, number = rest.partition(":")
    servers: list[_Server] = []
    if address:
        servers.append((protocol, address, int(number)))
    elif mark := _MARK.search(program[key]):
        servers.append((FWMARK, mark[1], 0))
    servers += reversed(led.get((version, address, protocol, int(number)), []))
    prefix = "" if address else "NP-"
    if mark := _MARK.search(program.get(("element", version, f"{prefix}INSIDE", entry), "")):
        servers.append((FWMARK, mark[1], 0))
    backends = [backend for server in servers for backend in pools.get((version, *server), ())]
    live = tuple(dict.fromkeys(text for text, draining in backends if not draining))
    seconds = next((vs.timeout for s in servers if (vs := program.get(("vs", version, *s))) is not None), 0)
    draining = tuple(sorted({text for text, is_draining in backends if is_draining}))
    refusal = next((name for name in ("DROP", "REJECT") if ("element", version, f"{prefix}{name}", entry) in program), "")
    # without a live server and without a refusal: what another mode has left of it (leaving.py)
    verdict = "dnat" if live else refusal.lower() or ("draining" if draining else "reject")
    return FrontendView(
        named[1], named[2], version, protocol.upper(), address or "*", int(number), verdict, live, seconds if live else 0, draining
    )


def _led(program: Program) -> dict[tuple[Any, ...], list[_Server]]:
    """(version, address or "", protocol, port) -> the virtual servers that its clients are led to, insiders' first."""
    found: dict[tuple[Any, ...], list[_Server]] = {}
    for version in (4, 6):
        for chain in (STICKY_VIPS, STICKY_NODE_PORTS):
            for rule in program.get(("chain", f"ip{version}", "nat", chain), ()):
                if match := _LED.search(rule):
                    address = rule.partition("-d ")[2].partition("/")[0] if chain == STICKY_VIPS else ""
                    servers = found.setdefault((version, address, match[1], int(match[2])), [])
                    server = match[1], match[3], int(match[4])
                    if server not in servers:
                        servers.append(server)
    return found
