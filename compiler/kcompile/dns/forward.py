"""Questions that are for other servers: names outside of the cluster, and where an ExternalName leads."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .answers import Onward
from .wire import HEADER, MAX_UDP, RA, SERVER_FAILURE, TC, opt

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.name import Name

__all__ = ["Forwarder"]

_MOST = 512  # questions under way
_KEPT = 10_000  # answers
_SECONDS = 2.0  # until another server is asked
_LIFETIME = 5.0  # until the client is told that there is no answer


class Forwarder:
    """Asks `servers` (address, port) in turn. Answers are kept as long as their TTL says.

    A loop, in which the servers ask us, is seen by a question that only we know; then nothing is asked any
    more, after one call of `complain`.
    """

    def __init__(self, servers: Sequence[tuple[str, int]], complain: Callable[[str], None]) -> None:
        self.servers = tuple(servers)
        self.requests = self.failures = 0
        self._complain = complain
        self._under_way = 0
        self._resolver: Resolver | None = None
        self._probe = f"{secrets.token_hex(8)}.{secrets.token_hex(8)}."
        self._loops = False
        self._probing: asyncio.Future[Any] | None = None

    def look_for_loops(self) -> None:
        """Ask for a name that nobody has: it comes back to `answer` where there is a loop."""
        import dns.name
        import dns.rdatatype

        asking = self._response(dns.name.from_text(self._probe), dns.rdatatype.HINFO)
        self._probing = asyncio.ensure_future(asking)

    async def answer(self, asked: Onward) -> bytes:
        """The reply to `asked`; a server failure where no server says anything."""
        if asked.target == self._probe and not self._loops:
            self._loops = True
            where = ", ".join([address for address, _ in self.servers])
            self._complain(f"no more questions are forwarded to {where}: they come back here")
        if self._loops or self._under_way >= _MOST:
            return _failure(asked)
        self._under_way += 1
        self.requests += 1
        try:
            found = await self._response(_target(asked), asked.question.kind)
        finally:
            self._under_way -= 1
        if found is None:
            self.failures += 1
            return _failure(asked)
        return _packed(asked, *found)

    async def _response(self, name: Name, kind: int) -> tuple[Any, int] | None:
        """The servers' response, and the seconds since it came; None without one."""
        import dns.asyncresolver
        import dns.exception
        import dns.rdatatype
        import dns.resolver

        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
            self._resolver.nameservers = [address for address, _ in self.servers]
            self._resolver.nameserver_ports = dict(self.servers)
            self._resolver.cache = dns.resolver.LRUCache(_KEPT)
            self._resolver.timeout, self._resolver.lifetime = _SECONDS, _LIFETIME
            self._resolver.rotate = True
            self._resolver.use_edns(0, 0, MAX_UDP)
        try:
            rdtype = dns.rdatatype.RdataType.make(kind)
            asking: Any = self._resolver.resolve(name, rdtype, raise_on_no_answer=False, search=False)
            found = await asking
            left = max(int(found.expiration - time.time()), 0)
            return found.response, left
        except dns.resolver.NXDOMAIN as error:
            nothing: Any = error
            return next(iter(nothing.responses().values())), 1 << 31
        except (dns.exception.DNSException, OSError, ValueError):
            return None


def _target(asked: Onward) -> Name:
    """The name to ask for."""
    import dns.name

    if asked.before:
        return dns.name.from_text(asked.target)
    return dns.name.from_wire(asked.asked, 0)[0]


def _packed(asked: Onward, response: Any, left: int) -> bytes:
    """The servers' `response` as the reply to `asked`. `left`: seconds that it is good for at most."""
    import dns.exception
    import dns.message

    query = dns.message.from_wire(HEADER.pack(0, 0, 1, 0, 0, 0) + asked.asked)
    reply: Any = dns.message.make_response(query)
    reply.set_rcode(response.rcode())
    reply.answer = [*_chain(asked), *[_shortened(rrset, left) for rrset in response.answer]]
    reply.authority = [_shortened(rrset, left) for rrset in response.authority]
    if asked.question.size is not None:
        reply.use_edns(0, payload=MAX_UDP)
    try:
        wire = bytearray(reply.to_wire(max_size=asked.limit))
    except dns.exception.TooBig:
        reply.authority = []
        wire = bytearray(reply.to_wire(max_size=asked.limit, prefer_truncation=True))
    flags = asked.flags | RA | (int.from_bytes(wire[2:4]) & (TC | 15))
    wire[:4] = asked.number + flags.to_bytes(2)
    return bytes(wire)


def _chain(asked: Onward) -> list[Any]:
    """The CNAME records that lead out of the cluster."""
    import dns.message

    if not asked.before:
        return []
    wire = HEADER.pack(0, 0x8000, 1, asked.before, 0, 0) + asked.asked + asked.head
    return list(dns.message.from_wire(wire).answer)


def _shortened(rrset: Any, left: int) -> Any:
    copy = rrset.copy()
    copy.ttl = min(copy.ttl, left)
    return copy


def _failure(asked: Onward) -> bytes:
    edns = b"" if asked.question.size is None else opt()
    return b"".join(
        (
            asked.number,
            (asked.flags | SERVER_FAILURE).to_bytes(2),
            HEADER.pack(0, 0, 1, 0, 0, 1 if edns else 0)[4:],
            asked.asked,
            edns,
        )
    )
