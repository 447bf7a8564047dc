"""The contents of the map crc32c: powers of x modulo CRC32c's polynomial, by which bpf/crc32c.h adjusts the
checksum of SCTP to new ports.
"""

from __future__ import annotations

from functools import cache

from ...targets.xdp import layout

__all__ = ["powers"]

_POLYNOMIAL = 0x82F63B78  # without x^32; the highest bit is x^0
_ONE = 1 << 31


@cache
def powers() -> bytes:
    """The map's values, packed: x^(32 * n), then x^(32 * CRC32C_LARGE * n), for n below CRC32C_LARGE."""
    large = layout.CONSTANTS["CRC32C_LARGE"]
    word = _ONE
    for _ in range(32):
        word = word >> 1 ^ (_POLYNOMIAL if word & 1 else 0)
    small = _row(word, large)
    values = [*small, *_row(_multiply(small[-1], word), large)]
    return b"".join(map(layout.POWER.pack, values))


def _row(factor: int, count: int) -> list[int]:
    """The first `count` powers of `factor`."""
    row = [_ONE]
    while len(row) < count:
        row.append(_multiply(row[-1], factor))
    return row


def _multiply(value: int, factor: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        if factor >> bit & 1:
            product ^= value
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return product
