"""ipsets and their elements as attributes of nfnetlink messages (uapi/linux/netfilter/ipset/ip_set.h).

As text they are what ``ipset save`` prints. An element is ``ip[/bits][,protocol:port][,ip[/bits]]``; our sets
have no other dimensions.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from ..netlink import attribute, attributes

__all__ = [
    "ADD",
    "CREATE",
    "DEL",
    "DESTROY",
    "FLUSH",
    "HEADERS_ONLY",
    "LIST",
    "LIMIT",
    "SWAP",
    "create",
    "decode",
    "element",
    "elements",
    "header",
    "line_of",
    "size",
    "supported",
]

# NFNL_SUBSYS_IPSET << 8 | IPSET_CMD_*
CREATE, DESTROY, FLUSH, SWAP, LIST, ADD, DEL = ((6 << 8) | command for command in (2, 3, 4, 6, 7, 9, 10))

_NESTED, _NET = 0x8000, 0x4000
_PROTOCOL, _SETNAME, _TYPENAME, _REVISION, _FAMILY, _FLAGS, _DATA, _ADT, _LINENO = range(1, 10)
_SETNAME2 = _TYPENAME
_IP, _CIDR, _PORT, _TIMEOUT, _PROTO, _CADT_FLAGS, _HASHSIZE, _MAXELEM, _ELEMENTS = (
    1,
    3,
    4,
    6,
    7,
    8,
    18,
    19,
    24,
)
_IP2, _CIDR2, _COMMENT, _SKBMARK, _SKBPRIO, _SKBQUEUE = 20, 21, 26, 27, 28, 29
_LIST_SETNAME, _LIST_HEADER = 1 << 1, 1 << 2
_NOMATCH = 1 << 2
_WITH = {"counters": 1 << 3, "comment": 1 << 4, "skbinfo": 1 << 6}
# The first of each type that has comments and marks (Linux 3.18): one that an older ipset can list as well
_REVISIONS = {
    "hash:ip": 4,
    "hash:ip,port": 5,
    "hash:ip,port,ip": 5,
    "hash:ip,port,net": 7,
    "hash:net": 6,
    "hash:net,port": 7,
}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_BITS = {4: 32, 6: 128}
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}
_WORDS = re.compile(r'"[^"]*"|[^\s"]+')

_be16, _be32, _u32 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct("=I")
_mark, _prio = struct.Struct(">II"), struct.Struct(">HH")
_nlattr = struct.Struct("=HH")
_line = struct.Struct("=HHI")
# struct nfgenmsg and the protocol version; every kernel and ipset understands 6
_START = struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute(_PROTOCOL, b"\x06")


@lru_cache(maxsize=256)
def header(name: str, other: str = "") -> bytes:
    """The start of a message about set `name` (empty: list all names); the whole of DESTROY and FLUSH.

    `other`: the set to SWAP it with.
    """
    if not name:
        return _START + attribute(_FLAGS | _NET, _be32.pack(_LIST_SETNAME))
    named = _START + attribute(_SETNAME, name.encode() + b"\0")
    return named + (attribute(_SETNAME2, other.encode() + b"\0") if other else b"")


HEADERS_ONLY = _START + attribute(_FLAGS | _NET, _be32.pack(_LIST_HEADER))
"""A LIST of all sets without their elements."""


def create(name: str, definition: str, expected: int = 0) -> bytes:
    """The payload that creates a set.

    `definition`: as ``ipset create`` takes it after the name; raises ValueError for an unknown word.
    `expected`: its number of elements, for the table's size: each resize waits for all readers
    (mtype_resize()).
    """
    kind, *words = definition.split()
    given = iter(words)
    flags, version, data = 0, 4, b""
    for word in given:
        if word in _WITH:
            flags |= _WITH[word]
        elif word == "family":
            version = 6 if next(given, "") == "inet6" else 4
        elif word in ("maxelem", "timeout"):
            kind_of_number = _MAXELEM if word == "maxelem" else _TIMEOUT
            data += attribute(kind_of_number | _NET, _be32.pack(int(next(given, ""))))
        else:
            raise ValueError(word)
    if kind not in _REVISIONS:
        raise ValueError(kind)
    if flags:
        data += attribute(_CADT_FLAGS | _NET, _be32.pack(flags))
    data += attribute(_HASHSIZE | _NET, _be32.pack(1 << max(10, (expected // 2).bit_length())))
    made = (
        attribute(_TYPENAME, kind.encode() + b"\0"),
        attribute(_REVISION, bytes((_REVISIONS[kind],))),
        attribute(_FAMILY, bytes((_FAMILIES[version],))),
        attribute(_DATA | _NESTED, data),
    )
    return header(name) + b"".join(made)


LIMIT = 60_000
"""Bytes of elements in a message: the length of an attribute has 16 bits."""


def elements(name: str, members: Sequence[bytes]) -> bytes:
    """The payload that adds or removes what `element` made, of LIMIT bytes at most, in one message."""
    return header(name) + attribute(_LINENO, bytes(4)) + attribute(_ADT | _NESTED, b"".join(members))


def element(version: int, entry: str, options: str, line: int) -> bytes:
    """One element of an ADT attribute; `line` comes back if it is refused.

    ValueError or OSError where `entry` isn't one.
    """
    address, *rest = entry.split(",")
    data = _address(_IP, version, address) + _line.pack(8, _LINENO, line)
    if rest:
        data += _port(rest[0])
        if len(rest) > 1:
            data += _address(_IP2, version, rest[1])
    if options:
        data += _options(options)
    return _nlattr.pack(4 + len(data), _DATA | _NESTED) + data


@lru_cache(maxsize=1 << 16)
def _address(kind: int, version: int, text: str) -> bytes:
    ip, _, bits = text.partition("/")
    packed = attribute((1 if version == 4 else 2) | _NET, socket.inet_pton(_FAMILIES[version], ip))
    made = attribute(kind | _NESTED, packed)
    return made + attribute(_CIDR if kind == _IP else _CIDR2, bytes((int(bits),))) if bits else made


@lru_cache(maxsize=1 << 12)
def _port(text: str) -> bytes:
    protocol, _, port = text.partition(":")
    number = _PROTOCOLS[protocol] if protocol in _PROTOCOLS else int(protocol)
    return attribute(_PORT | _NET, _be16.pack(int(port))) + attribute(_PROTO, bytes((number,)))


def _options(text: str) -> bytes:
    words = iter(_WORDS.findall(text))
    parts: list[bytes] = []
    for word in words:
        if word == "comment":
            parts.append(attribute(_COMMENT, next(words, "")[1:-1].encode() + b"\0"))
        elif word == "skbmark":
            mark, _, mask = next(words, "").partition("/")
            parts.append(
                attribute(_SKBMARK | _NET, _mark.pack(int(mark, 16), int(mask, 16) if mask else 0xFFFFFFFF))
            )
        elif word == "skbprio":
            major, _, minor = next(words, "").partition(":")
            parts.append(attribute(_SKBPRIO | _NET, _prio.pack(int(major, 16), int(minor, 16))))
        elif word == "skbqueue":
            parts.append(attribute(_SKBQUEUE | _NET, _be16.pack(int(next(words, "")))))
        elif word == "nomatch":
            parts.append(attribute(_CADT_FLAGS | _NET, _be32.pack(_NOMATCH)))
        else:
            raise ValueError(word)
    return b"".join(parts)


def supported(options: str, definition: str) -> str:
    """`options` without those that a set of `definition` can't have."""
    have = {"nomatch", *definition.split()}
    words = iter(_WORDS.findall(options))
    found = [(word, "" if word == "nomatch" else next(words, "")) for word in words]
    return " ".join(
        f"{word} {value}".rstrip()
        for word, value in found
        if {word, "skbinfo" if word.startswith("skb") else ""} & have
    )


def line_of(payload: memoryview) -> int:
    """The line in a refused message that the kernel sent back."""
    for kind, at, _ in attributes(payload, 4, len(payload)):
        if kind == _LINENO:
            return int(_u32.unpack_from(payload, at)[0])
    return 0


def decode(data: memoryview, start: int, end: int) -> tuple[str, str, Iterator[tuple[str, str]]]:
    """One answer to LIST: the set's name, definition ("" in its later answers), elements with options."""
    found = {kind: (at, stop) for kind, at, stop in attributes(data, start + 4, end)}
    name = _text(data, *found[_SETNAME])
    definition = ""
    if _TYPENAME in found and _DATA in found:
        definition = _definition(data, _text(data, *found[_TYPENAME]), data[found[_FAMILY][0]], *found[_DATA])
    return name, definition, _elements(data, *found[_ADT]) if _ADT in found else iter(())


def size(data: memoryview, start: int, end: int) -> int:
    """How many elements one answer to LIST says that the set has."""
    for kind, at, stop in attributes(data, start + 4, end):
        if kind == _DATA:
            for inner, begin, _ in attributes(data, at, stop):
                if inner == _ELEMENTS:
                    return int(_be32.unpack_from(data, begin)[0])
    return 0


def _text(data: memoryview, start: int, end: int) -> str:
    return bytes(data[start:end]).rstrip(b"\0").decode(errors="replace")


def _definition(data: memoryview, kind: str, family: int, start: int, end: int) -> str:
    found = {inner: bytes(data[at:stop]) for inner, at, stop in attributes(data, start, end)}
    words = [f"{kind} family {'inet' if family == socket.AF_INET else 'inet6'}"]
    words += [
        f"{word} {_be32.unpack(found[inner])[0]}"
        for inner, word in ((_MAXELEM, "maxelem"), (_TIMEOUT, "timeout"))
        if inner in found
    ]
    (flags,) = _be32.unpack(found.get(_CADT_FLAGS, bytes(4)))
    return " ".join(words + [word for word, bit in _WITH.items() if flags & bit])


def _elements(data: memoryview, start: int, end: int) -> Iterator[tuple[str, str]]:
    for kind, at, stop in attributes(data, start, end):
        if kind == _DATA:
            yield _element(data, at, stop)


def _element(data: memoryview, at: int, end: int) -> tuple[str, str]:
    entry = second = options = ""
    protocol = port = 0
    while at + 4 <= end:
        length, kind = _nlattr.unpack_from(data, at)
        kind &= 0x3FFF
        if kind == _IP:
            entry = _spelled(bytes(data[at + 8 : at + length]))
        elif kind == _PORT:
            (port,) = _be16.unpack_from(data, at + 4)
        elif kind == _PROTO:
            protocol = data[at + 4]
        elif kind == _CIDR:
            entry = _within(entry, data[at + 4])
        elif kind == _IP2:
            second = _spelled(bytes(data[at + 8 : at + length]))
        elif kind == _CIDR2:
            second = _within(second, data[at + 4])
        elif kind in _OPTIONS:
            options += " " + _OPTIONS[kind](bytes(data[at + 4 : at + length]))
        at += (length + 3) & ~3
    if protocol:
        entry = f"{entry},{_NAMES.get(protocol) or protocol}:{port}"
    return f"{entry},{second}" if second else entry, options[1:]


@lru_cache(maxsize=1 << 16)
def _spelled(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _within(ip: str, bits: int) -> str:
    return ip if bits == _BITS[6 if ":" in ip else 4] else f"{ip}/{bits}"


def _skbmark(data: bytes) -> str:
    mark, mask = _mark.unpack(data)
    return f"skbmark {mark:#x}" if mask == 0xFFFFFFFF else f"skbmark {mark:#x}/{mask:#x}"


_OPTIONS: dict[int, Callable[[bytes], str]] = {
    _CADT_FLAGS: lambda data: "nomatch" if _be32.unpack(data)[0] & _NOMATCH else "",
    _COMMENT: lambda data: f'comment "{data.rstrip(bytes(1)).decode(errors="replace")}"',
    _SKBMARK: _skbmark,
    _SKBPRIO: lambda data: "skbprio {:x}:{:x}".format(*_prio.unpack(data)),
    _SKBQUEUE: lambda data: f"skbqueue {_be16.unpack(data)[0]}",
}
