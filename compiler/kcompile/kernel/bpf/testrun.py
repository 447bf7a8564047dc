"""BPF_PROG_TEST_RUN: runs a program on a given packet, for tests and measurements."""

from __future__ import annotations

import ctypes
import struct

from .syscall import Fd, attribute, bpf, buffer, call, pointer

__all__ = ["Runner", "prog_test_run"]

_TEST_RUN = 10  # enum bpf_cmd


def prog_test_run(
    program: Fd, data: bytes, *, repeat: int = 1, context: bytes = b"", room: int = 512
) -> tuple[int, bytes, int, bytes]:
    """Run `program` on the packet `data`: returns verdict, resulting packet, nanoseconds a run, context."""
    packet, out = buffer(data), ctypes.create_string_buffer(len(data) + room)
    ctx, ctx_out = (buffer(context), ctypes.create_string_buffer(len(context))) if context else (None, None)
    sizes = (
        len(data),
        len(out),
        pointer(packet) if data else 0,
        pointer(out) if data else 0,
        repeat,
        0,
        len(context),
        len(context),
    )
    attr = attribute("IIIIQQIIIIQQIII4x", program.number, 0, *sizes, pointer(ctx), pointer(ctx_out), 0, 0, 0)
    call(_TEST_RUN, attr, f"program {program.name}: test run")
    verdict, _, size = struct.unpack_from("=III", attr, 4)
    (duration,) = struct.unpack_from("=I", attr, 36)
    return verdict, out.raw[:size], duration, ctx_out.raw if ctx_out is not None else b""


class Runner:
    """Runs one program on many packets, in the same buffers: some microseconds each."""

    def __init__(self, program: Fd, context: bytes = b"", size: int = 4096) -> None:
        self.program = program
        self._packet, self._out = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
        self._context = buffer(context) if context else None
        pointers = (
            pointer(self._packet),
            pointer(self._out),
            1,
            0,
            len(context),
            0,
            pointer(self._context),
            0,
        )
        self._attr = attribute("IIIIQQIIIIQQIII4x", program.number, 0, 0, size, *pointers, 0, 0, 0)

    def run(self, data: bytes) -> tuple[int, bytes]:
        """The verdict and the resulting packet. Raises OSError, also for a packet that the kernel refuses."""
        self._packet.raw = data.ljust(len(self._packet), b"\0")
        struct.pack_into("=III", self._attr, 4, 0, len(data), len(self._out))
        bpf(_TEST_RUN, self._attr)
        verdict, _, size = struct.unpack_from("=III", self._attr, 4)
        return verdict, self._out.raw[:size]
