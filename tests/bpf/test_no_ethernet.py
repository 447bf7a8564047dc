"""Interfaces whose packets begin with IP: tunl0, WireGuard."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import time
from pathlib import Path

import pytest

from harness import netns
from kcompile.kernel.bpf import attach, programs
from kcompile.kernel.bpf.attach import Attachment
from kcompile.targets.xdp.layout import CONSTANTS as C

from .frames import BOOK, address, frame, read
from .world import make

pytestmark = pytest.mark.kernel


def tun(name: str, index: int) -> int:
    """A tun interface, whose packets have no Ethernet header; its descriptor carries them."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454DA, struct.pack("=I", index))  # TUNSETIFINDEX
    wanted = struct.pack("=16sH22x", name.encode(), 0x1001)  # IFF_TUN, IFF_NO_PI
    fcntl.ioctl(fd, 0x400454CA, wanted)  # TUNSETIFF
    return fd


def heard(fd: int) -> bytes:
    """The first TCP or UDP packet that comes out of a tun."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 0.2)[0]:
            packet = os.read(fd, 4096)
            if packet[9 if packet[0] >> 4 == 4 else 6] in (6, 17):
                return packet
    raise AssertionError("nothing was sent")


def test_interfaces_without_ethernet(bpffs: Path):
    """tunl0, WireGuard: a packet begins with IP.

    Real packets between two of them, since a test run has frames only.
    """
    with (
        make(programs.BARE_DEFINES, sources=("tc.c",)) as world,
        netns.enter(world.namespace),
        contextlib.ExitStack() as stack,
    ):
        inside, outside = tun("inside", 40), tun("outside", 41)
        stack.callback(os.close, inside)
        stack.callback(os.close, outside)
        netns.batch(["link set inside up", "link set outside up"], world.namespace)
        for i, bits in enumerate((32, 128)):
            near, far = BOOK["near2"][i], BOOK["far"][i]
            netns.batch(
                [f"route replace {near}/{bits} dev inside", f"route replace {far}/{bits} dev outside"],
                world.namespace,
            )
        for index in (40, 41):
            attach.attach(bpffs, Attachment("ingress", index), world.programs["ingress"])
            world.put("interfaces", (index,), (C["INTERFACE_PODS"], address("pods", 4), address("pods", 6)))
        for version in (4, 6):
            ethernet = frame("udp near2:4000 > api:80", version)[:14]
            for _ in range(2):  # the way is asked for, then remembered
                os.write(inside, frame("udp near2:4000 > api:80", version)[14:])
                assert read(ethernet + heard(outside)).text == "udp near2:4000 > far:8080 ttl=63"
                os.write(outside, frame("udp far:8080 > near2:4000", version)[14:])
                assert read(ethernet + heard(inside)).text == "udp api:80 > near2:4000 ttl=63"
            os.write(inside, frame("udp near2:4000 > empty:80", version)[14:])
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                packet = os.read(inside, 4096) if select.select([inside], [], [], 0.2)[0] else b""
                if packet and packet[9 if version == 4 else 6] in (1, 58):
                    kind = packet[20 if version == 4 else 40]
                    said = read(ethernet + packet).text if kind in (3, 1) else ""
                    if said:
                        break
            assert said == "unreachable empty > near2 about udp near2:4000 > empty:80"
        for index in (40, 41):
            attach.detach(bpffs, Attachment("ingress", index))
