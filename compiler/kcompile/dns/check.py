"""Compares what a name server answers with what the objects say, and names the objects."""

from __future__ import annotations

import socket
from typing import Any, Literal

import msgspec

from ..errors import KernelError
from ..spec.addresses import is_ip
from .reverse import Reverse
from .zones import RRset, Zones

__all__ = ["Line", "Verdict", "absolute", "check"]

_SECONDS = 5.0
_KINDS = ("A", "AAAA", "SRV")


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """One record. `state`: ``same``; ``missing`` from the server's answer; ``extra`` there. `objects`: those
    that it comes from.
    """

    kind: str
    name: str
    data: str
    state: Literal["same", "missing", "extra"]
    objects: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True, rename="camel"):
    """All of a name. `rcode`: what the objects say, ``NOERROR`` or ``NXDOMAIN``; `answered`: the server's
    codes for each type where they differ.
    """

    name: str
    rcode: str
    answered: dict[str, str]
    lines: tuple[Line, ...]

    @property
    def agrees(self) -> bool:
        """Whether the server says what the objects say."""
        return not self.answered and all(line.state == "same" for line in self.lines)


def absolute(text: str, domain: str) -> str:
    """The absolute name that `text` means: an address' reverse name, or one below `domain`."""
    if is_ip(text):
        return Reverse().name(text)
    name = text.lower().rstrip(".") + "."
    is_whole = text.endswith(".") or name.endswith((f".{domain}", ".arpa.")) or name == domain
    return name if is_whole else f"{name}{domain}"


def check(zones: Zones, name: str, server: tuple[str, int]) -> Verdict:
    """Ask `server` (address, port) for everything at the absolute `name`. Raises KernelError without a
    reply.
    """
    import dns.rcode

    own = zones.kinds(name)
    kinds = ("PTR",) if name.endswith(".arpa.") else _KINDS
    lines: list[Line] = []
    answered: dict[str, str] = {}
    for kind in dict.fromkeys((*own, *kinds)):
        wanted = zones.lookup(name, kind)
        reply = _asked(name, kind, server)
        if reply.rcode() != wanted.rcode and not wanted.outside:
            answered[kind] = dns.rcode.to_text(reply.rcode())
        known = {(line.kind, line.name, line.data) for line in lines}
        found = _lines(zones, wanted.answers, _records(reply, zones))
        lines += [line for line in found if (line.kind, line.name, line.data) not in known]
    rcode = "NOERROR" if zones.exists(name) else "NXDOMAIN"
    return Verdict(name, rcode, answered, tuple(lines))


def _records(reply: Any, zones: Zones) -> set[tuple[str, str, str]]:
    """Name, type and data of the answers within our zones."""
    import dns.rdatatype

    found = set()
    for rrset in reply.answer:
        name, kind = rrset.name.to_text().lower(), dns.rdatatype.to_text(rrset.rdtype)
        if zones.zone_of(name):
            found |= {(name, kind, _text(kind, record.to_text())) for record in rrset}
    return found


def _text(kind: str, data: str) -> str:
    """Data as it is compared: an SOA's serial is the server's own."""
    if kind == "SOA":
        fields = data.split()
        return " ".join([*fields[:2], "0", *fields[3:]])
    return data.lower()


def _lines(zones: Zones, wanted: tuple[RRset, ...], given: set[tuple[str, str, str]]) -> list[Line]:
    lines = []
    for rrset in wanted:
        for data in rrset.data:
            record = rrset.name, rrset.kind, _text(rrset.kind, data)
            owners = tuple(zones.owners_of(rrset.name, rrset.kind, data))
            state: Literal["same", "missing"] = "same" if record in given else "missing"
            lines.append(Line(rrset.kind, rrset.name, data, state, owners))
            given.discard(record)
    return lines + [Line(kind, name, data, "extra") for name, kind, data in sorted(given)]


def _asked(name: str, kind: str, server: tuple[str, int]) -> Any:
    import dns.exception
    import dns.message
    import dns.query

    query = dns.message.make_query(name, kind, use_edns=0)
    address, port = server
    try:
        with _connected(address, port) as sock:
            reply, _ = dns.query.udp_with_fallback(query, address, timeout=_SECONDS, port=port, udp_sock=sock)
    except (dns.exception.DNSException, OSError, EOFError) as error:
        raise KernelError(f"{address} port {port}: no answer: {error or type(error).__name__}") from None
    return reply


def _connected(address: str, port: int) -> socket.socket:
    """A socket that hears at once where nobody listens: the kernel tells only a connected one."""
    family, _, _, _, place = socket.getaddrinfo(address, port, flags=socket.AI_NUMERICHOST)[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(place)
    except OSError:
        sock.close()
        raise
    return sock
