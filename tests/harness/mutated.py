"""Mutated questions to a name server that runs: what is wrong with what it says."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence

import dns.exception
import dns.message

__all__ = ["trouble"]

_BATCH = 40
_SECONDS = 5.0
_KINDS = ("A", "AAAA", "SRV", "NS", "SOA", "TXT", "PTR", "ANY", "CNAME", "HINFO", "AXFR")
_NAMES = (
    "web.shop.svc.cluster.local.",
    "_sql._tcp.db.shop.svc.cluster.local.",
    "search.shop.svc.cluster.local.",
    "none.shop.svc.cluster.local.",
    "cluster.local.",
    "80.0.96.10.in-addr.arpa.",
    "example.com.",
    ".",
)
_MARK = dns.message.make_query("web.shop.svc.cluster.local.", "A", id=0xFFFF).to_wire()


def _query(rng: random.Random) -> bytes:
    edns = rng.choice((False, 0, 0, 1))
    query = dns.message.make_query(rng.choice(_NAMES), rng.choice(_KINDS), use_edns=edns)
    if edns is not False and rng.random() < 0.3:
        query.use_edns(edns, payload=rng.randrange(65536), options=[])
    return query.to_wire()


def _mutated(rng: random.Random) -> bytes:
    """A question with some of: bytes that differ, that are gone, new or twice; cut off; or only noise."""
    message = bytearray(_query(rng))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(message) + 1)
        piece = rng.randbytes(rng.choice((1, 1, 2, 4)))
        match rng.randrange(6):
            case 0:
                message[at : at + len(piece)] = piece
            case 1:
                del message[at : at + len(piece)]
            case 2:
                message[at:at] = piece
            case 3:
                message[at:at] = message[at : at + rng.randrange(40)]
            case 4:
                del message[at:]
            case 5:
                message[2:12] = rng.randbytes(10)
    return bytes(message) if rng.random() < 0.98 else rng.randbytes(rng.randrange(200))


def trouble(port: int, count: int, seed: int, *, tcp: bool) -> Iterator[str]:
    """Send `count` mutated questions to `port` of the loopback; a line for each thing that is wrong: an
    answer that is no message or to nobody's question, or no answer to a good question among them.
    """
    rng = random.Random(seed)
    for start in range(0, count, _BATCH):
        sent = [
            number.to_bytes(2) + _mutated(rng)[2:]
            for number in range(start % 65000, start % 65000 + min(_BATCH, count - start))
        ]
        for reply in (_stream if tcp else _datagrams)(port, sent):
            if reply is None:
                yield f"seed {seed}, at {start}: no answer to a good question among {[m.hex() for m in sent]}"
            elif wrong := _wrong(reply, sent, 65535 if tcp else 1232):
                yield f"seed {seed}, at {start}: {wrong}"


def _wrong(reply: bytes, sent: Sequence[bytes], limit: int) -> str:
    asked = [message for message in sent if message[:2] == reply[:2]]
    if not asked or len(reply) > limit or not reply[2] & 0x80:
        return f"{len(reply)} bytes to nobody's question: {reply.hex()}"
    try:
        dns.message.from_wire(reply)
    except (dns.exception.DNSException, ValueError) as error:
        return f"{asked[0].hex()} is answered with {reply.hex()}: {error!r}"
    return ""


def _datagrams(port: int, sent: Sequence[bytes]) -> Iterator[bytes | None]:
    """What comes before the answer to a good question; at last None where that doesn't come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(_SECONDS)
        for message in (*sent, _MARK):
            sock.send(message)
        try:
            while (reply := sock.recv(65536))[:2] != _MARK[:2]:
                yield reply
        except OSError:
            yield None


def _stream(port: int, sent: Sequence[bytes]) -> Iterator[bytes | None]:
    """As `_datagrams`. A connection ends at a message that gets no answer: the good question has its own."""
    for messages in (sent, [_MARK]):
        with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as sock:
            stream = sock.makefile("rb")
            try:
                sock.sendall(b"".join([len(each).to_bytes(2) + each for each in messages]))
                sock.shutdown(socket.SHUT_WR)
                while len(length := stream.read(2)) == 2:
                    reply = stream.read(int.from_bytes(length))
                    if reply[:2] == _MARK[:2]:
                        return
                    yield reply
            except OSError:
                pass  # it was reset; the next one says whether the server lives
    yield None
