"""Turns conntrack entries into flows, when mode xdp takes over from nftables or iptables.

A conntrack entry has all that a pair of flows needs: addresses and ports of the client's packets and of the
backend's answers, as they arrive. The programs then rewrite these at the interfaces, and conntrack sees no
more of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from ...errors import KernelError
from ...targets.xdp import layout
from ...targets.xdp.resources import PROTOCOLS, FrontendKey, LocalKey, Service
from .. import ctnetlink
from ..ctnetlink import Entry
from . import entries, library, packet_filter
from .observe import State
from .syscall import Fd

__all__ = ["Carrier"]

_REPLY, _TO_STACK = layout.CONSTANTS["FLOW_REPLY"], layout.CONSTANTS["FLOW_TO_STACK"]
_FORMS = {4: (layout.FLOW_KEY4, layout.FLOW4), 6: (layout.FLOW_KEY6, layout.FLOW6)}
_NO_MACS = bytes(12)


class Carrier:
    """Writes to the flow maps of `maps`, which already have the frontends of `state`.

    `carried`: the conntrack entries taken over so far, by their keys.
    """

    def __init__(self, maps: Mapping[str, Fd], state: State, carried: dict[bytes, Entry]) -> None:
        self._maps, self._state = maps, state
        self._frontends: dict[tuple[int, int, bytes, bytes], Service] = {}
        self._local: set[tuple[int, bytes]] = set()
        for key, value in state.program.items():
            if isinstance(key, FrontendKey):
                address = entries.packed(key.version, key.address)
                at = (key.version, PROTOCOLS[key.protocol], address, key.port.to_bytes(2))
                self._frontends[at] = Service(key.version, key.protocol, value.service)
            elif isinstance(key, LocalKey):
                self._local.add((key.version, entries.packed(key.version, key.address)))
        self.carried = carried

    def run(self) -> None:
        """Take over the entries that aren't yet. Raises KernelError where conntrack can't be read."""
        for version, protocol in sorted({(at[0], at[1]) for at in self._frontends}):
            for entry in ctnetlink.entries(version, protocol, ctnetlink.DST_NAT, ctnetlink.DST_NAT):
                if entry.key not in self.carried and self._carry_over(entry):
                    self.carried[entry.key] = entry

    def _carry_over(self, entry: Entry) -> bool:
        """Write the flows of `entry`; False where no frontend serves it, or the connection is over."""
        service = self._service(entry)
        over = entry.protocol == PROTOCOLS["tcp"] and entry.state in ctnetlink.TCP_OVER
        if service is None or over:
            return False
        number = self._state.services[service]
        client, answer = entry.original, entry.reply
        end = entry.text(answer.source), int.from_bytes(answer.source_port)
        backend = self._state.backends.get(number, {}).get(end, 0)
        if not backend and entry.protocol == PROTOCOLS["udp"]:
            return False  # a UDP flow must not stay with a removed endpoint
        forward = (answer.destination, answer.source, answer.destination_port, answer.source_port)
        back = (client.destination, client.source, client.destination_port, client.source_port)
        out = self._flags(entry.version, answer.source)
        self._write(entry, tuple(client), forward, backend, number, out)
        reply = _REPLY | self._flags(entry.version, client.source)
        self._write(entry, tuple(answer), back, backend, number, reply)
        to, by = (client.destination, client.destination_port), (answer.source, answer.source_port)
        packet_filter.add_flow(self._maps, entry.version, to, by)
        return True

    def _service(self, entry: Entry) -> Service | None:
        """The Service port whose frontend the client sent to; None where there is none."""
        version, protocol, client = entry.version, entry.protocol, entry.original
        found = self._frontends.get((version, protocol, client.destination, client.destination_port))
        if found is None and (version, client.destination) in self._local:
            anywhere = entries.packed(version, "")
            found = self._frontends.get((version, protocol, anywhere, client.destination_port))
        return found

    def _flags(self, version: int, destination: bytes) -> int:
        return _TO_STACK if (version, destination) in self._local else 0

    def _write(
        self,
        entry: Entry,
        ends: tuple[bytes, ...],
        becomes: tuple[bytes, ...],
        backend: int,
        service: int,
        flags: int,
    ) -> None:
        """Write one direction, unless the programs have made a flow there, which is newer."""
        key_form, form = _FORMS[entry.version]
        value = form.pack(*becomes, backend, service, flags, 0, time.monotonic_ns(), 0, _NO_MACS)
        flows, brief = (self._maps[name] for name in layout.flow_maps(entry.version))
        key = key_form.pack(*ends, entry.protocol)
        if library.lookup(brief, key, form.size) is not None:
            return
        try:
            library.update(flows, key, value, library.NOEXIST)
        except KernelError as e:
            if not isinstance(e.__cause__, FileExistsError):
                raise
