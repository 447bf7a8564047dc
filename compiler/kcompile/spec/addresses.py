"""IP addresses and CIDRs as text: parsed by inet_pton, as strict as the kernel's tools, and several times
faster than `ipaddress`.

Canonical text is what inet_ntop writes (IPv6 compressed, lower case); a canonical CIDR is masked to its
network. Both are what the kernel shows, so a rule read back compares equal.
"""

from __future__ import annotations

from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

__all__ = [
    "BadAddress",
    "Network",
    "canonical_cidr",
    "canonical_ip",
    "family_of",
    "is_ip",
    "network",
    "special",
    "unfit",
    "unpack",
]

_SUSPECT4 = frozenset((0, 127, 169, *range(224, 240), 255))  # first bytes worth a second look
_SUSPECT6 = frozenset((0, 0xFE, 0xFF))
_EXACT = {
    bytes(4): "unspecified",
    b"\xff" * 4: "broadcast",
    bytes(16): "unspecified",
    bytes(15) + b"\1": "loopback",
}


class BadAddress(ValueError):  # noqa: N818 -- an answer more than an error
    """Not an IP address or CIDR; the message says why."""


class Network:
    """A CIDR as numbers: `first` and `last` address, IP `version` (4 or 6), prefix `length`."""

    __slots__ = ("first", "last", "length", "version")

    def __init__(self, version: int, value: int, length: int) -> None:
        rest = (32 if version == 4 else 128) - length
        self.version, self.length = version, length
        self.first = value >> rest << rest
        self.last = self.first | (1 << rest) - 1

    def __contains__(self, address: object) -> bool:
        """True if the network has the IP `address` (text)."""
        packed = unpack(str(address))
        return (
            len(packed) == (4 if self.version == 4 else 16)
            and self.first <= int.from_bytes(packed) <= self.last
        )

    def __str__(self) -> str:
        return f"{self.address(0)}/{self.length}"

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def address(self, offset: int) -> str:
        """The address at `offset` from the first, as canonical text."""
        return inet_ntop(
            AF_INET if self.version == 4 else AF_INET6,
            (self.first + offset).to_bytes(4 if self.version == 4 else 16),
        )


def unpack(text: str) -> bytes:
    """The 4 or 16 bytes of an IP address in strict spelling.

    IPv4-mapped IPv6 is refused: Go, and so Kubernetes, takes it for IPv4; the kernel doesn't.
    """
    try:
        if ":" not in text:
            return inet_pton(AF_INET, text)
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        raise BadAddress("not a valid IP address") from None
    if packed[:12] == b"\0\0\0\0\0\0\0\0\0\0\xff\xff":
        raise BadAddress("an IPv4-mapped IPv6 address; write it as IPv4")
    return packed


def is_ip(text: str) -> bool:
    """True if `text` is an IP address in strict spelling, of any sort."""
    try:
        unpack(text)
    except BadAddress:
        return False
    return True


def family_of(text: str) -> int:
    """4 or 6, by spelling: for text already known to be an address or CIDR."""
    return 6 if ":" in text else 4


def canonical_ip(text: str) -> str:
    """The address as the kernel writes it. IPv4 in strict spelling already is."""
    packed = unpack(text)
    return text if len(packed) == 4 else inet_ntop(AF_INET6, packed)


def special(packed: bytes) -> str:
    """The sort of address that no service or endpoint may have (ValidateEndpointIP in
    pkg/apis/core/validation): ``loopback``, ``multicast`` and so on; empty for usable ones.

    All of multicast is refused, where Kubernetes names only the link-local part: a DNAT to or from it can't
    work.
    """
    first = packed[0]
    if len(packed) == 4:
        if first not in _SUSPECT4:
            return ""
        if first == 127:
            return "loopback"
        if 224 <= first < 240:
            return "multicast"
        return "link-local" if first == 169 and packed[1] == 254 else _EXACT.get(packed, "")
    if first not in _SUSPECT6:
        return ""
    if first == 0xFF:
        return "multicast"
    return "link-local" if first == 0xFE and packed[1] & 0xC0 == 0x80 else _EXACT.get(packed, "")


def unfit(text: str, size: int = 0) -> str:
    """Why `text` can't be the address of a service or endpoint, empty when it can.

    `size`: 4 or 16 bytes wanted, 0 either.
    """
    if size != 16:
        try:  # nearly every address of most inputs ends here
            if inet_pton(AF_INET, text)[0] not in _SUSPECT4:
                return ""
        except (OSError, ValueError):
            pass
    try:
        packed = unpack(text)
    except BadAddress as error:
        return str(error)
    if size and len(packed) != size:
        return f"not an {'IPv4' if size == 4 else 'IPv6'} address"
    kind = special(packed)
    return f"a {kind} address" if kind else ""


@lru_cache(maxsize=4096)
def network(text: str) -> Network:
    """Parse ``address/length``.

    Host bits may be set, as in Kubernetes (legacy CIDR parsing); blanks may not.
    """
    address, slash, length = text.partition("/")
    if not slash:
        raise BadAddress("not a CIDR: the prefix length is missing")
    packed = unpack(address)
    # isdecimal() takes other scripts' digits too, hence isascii(); a leading zero means octal to some, so it
    # is refused.
    if not (
        length.isascii() and length.isdecimal() and len(length) <= 3 and (length == "0" or length[0] != "0")
    ):
        raise BadAddress("not a CIDR: the prefix length is not a number")
    if int(length) > 8 * len(packed):
        raise BadAddress(f"not a CIDR: the prefix length is over {8 * len(packed)}")
    return Network(4 if len(packed) == 4 else 6, int.from_bytes(packed), int(length))


@lru_cache(maxsize=4096)
def canonical_cidr(text: str) -> str:
    """The CIDR with its host bits cleared and its address canonical."""
    return str(network(text))
