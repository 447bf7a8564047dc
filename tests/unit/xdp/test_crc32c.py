"""The powers by which bpf/crc32c.h adjusts SCTP's checksum, against CRC32c byte by byte."""

from __future__ import annotations

import random
import struct

from bpf.frames import crc32c
from kcompile.kernel.bpf.crc32c import _multiply, powers
from kcompile.targets.xdp.layout import CONSTANTS


def test_powers_give_the_crc_of_a_packet_with_another_first_word():
    values = struct.unpack(f"={2 * CONSTANTS['CRC32C_LARGE']}I", powers())
    large = CONSTANTS["CRC32C_LARGE"]
    chance = random.Random(1)
    for words in (4, 5, 127, 128, 129, 255, 256, 1000, 16_383):
        packet = chance.randbytes(4 * words)
        old, new = packet[:4], chance.randbytes(4)
        (difference,) = struct.unpack("<I", bytes(a ^ b for a, b in zip(old, new, strict=True)))
        moved = _multiply(_multiply(difference, values[words % large]), values[large + words // large])
        (before,) = struct.unpack("<I", crc32c(packet))
        assert struct.pack("<I", before ^ moved) == crc32c(new + packet[4:])
