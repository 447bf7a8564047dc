"""What stories (test_path.py) don't tell: fields that lines leave out, packets that are left alone, ports,
affinity, reuse of tuples.
"""

from __future__ import annotations

import itertools
import random
import socket
import struct

import pytest

from harness import netns
from kcompile.kernel.bpf import library
from kcompile.targets.xdp import layout
from kcompile.targets.xdp.layout import CONSTANTS as C

from .frames import MACS, address, frame, ones_complement
from .world import ETH0, NEAR, NEAR2, World

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("version", [4, 6])


def flows(world: World, version: int) -> int:
    return len(world.entries(f"flows{version}"))


@BOTH
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("size", [0, 1, 7, 1400])
def test_payloads_are_carried_whole(world: World, version: int, protocol: str, size: int):
    payload = bytes(i % 251 for i in range(size))
    for program, interface in (("ingress", NEAR), ("xdp", ETH0)):
        line = f"{protocol} client:{5000 + size} > open:80"
        if protocol == "tcp":
            world.run(program, interface, f"{line} S", version)
        verdict, after = world.run(program, interface, line, version, payload=payload)
        assert (verdict, after.payload) == ("transmit" if program == "xdp" else "redirect", payload)


@BOTH
def test_a_datagram_without_checksum_keeps_none(world: World, version: int):
    for program in ("ingress", "xdp"):
        verdict, after = world.run(program, ETH0, "udp client:4000 > open:80", version, no_check=True)
        assert verdict in ("redirect", "transmit")
        assert after.text == "udp client:4000 > far:8080 ttl=63"
        assert after.fields["check"] == 0


@BOTH
def test_a_checksum_that_becomes_zero_is_all_ones(world: World, version: int):
    """Of 65,536 payloads one makes the sum after translation zero, which would say that there is none."""
    plain = frame("udp client:4000 > far:8080", version, payload=b"\0\0")
    at = 14 + (20 if version == 4 else 40) + 6
    word = struct.unpack_from("!H", plain, at)[0]  # adding it to the payload makes the sum all ones
    for program in ("ingress", "xdp"):
        _, after = world.run(
            program, ETH0, "udp client:4000 > open:80", version, payload=struct.pack("!H", word)
        )
        assert after.fields["check"] == 0xFFFF


@BOTH
@pytest.mark.parametrize("size", [0, 4, 492, 496, 500, 1400])
def test_the_crc_of_sctp_after_new_ports(world: World, version: int, size: int):
    payload = random.Random(size).randbytes(size)
    for port in (80, 30080):
        where = "api" if port == 80 else "node"
        line = f"sctp client:4000 > {where}:{port} S"
        _, after = world.run("ingress", ETH0, line, version, payload=payload)  # reads the checksum
        assert after.text.startswith("sctp node:4000 > far:8080 S")
        assert after.payload == payload
        world.clear()


@BOTH
def test_a_crc_that_is_still_to_be_computed_is_left_to_that(world: World, version: int):
    for program in ("ingress", "xdp"):
        _, after = world.run(program, ETH0, "sctp client:4000 > node:30080 S", version, no_check=True)
        assert after.text.startswith("sctp node:4000 > far:8080 S")
        assert after.fields["check"] == 0


@BOTH
def test_next_hops_are_written_once_they_are_known(world: World, version: int):
    near, far = "tcp near2:4000 > web:80 S", "tcp near:4000 > api:80 S"

    def macs(program: str, interface: int, line: str) -> bytes:
        return world.run(program, interface, line, version)[1].macs

    assert macs("ingress", NEAR2, near) == MACS["near"] + MACS["veth"]  # by redirect_peer, at once
    # the first by the kernel's neighbour code
    assert macs("ingress", NEAR, far) == MACS["eth0"] + MACS["gateway"]
    assert macs("ingress", NEAR, far) == MACS["other"] + MACS["eth0"]
    assert macs("xdp", ETH0, "udp client:4000 > open:80") == MACS["other"] + MACS["eth0"]


def options4(data: bytes) -> bytes:
    """An IPv4 frame with a no-operation option of 4 bytes."""
    head = bytearray(data[14:34])
    head[0] = 0x46
    head[2:4] = struct.pack("!H", len(data) - 14 + 4)
    head[10:12] = b"\0\0"
    head += b"\1\1\1\1"
    head[10:12] = struct.pack("!H", ones_complement(bytes(head)))
    return data[:14] + bytes(head) + data[34:]


def extension6(data: bytes, kind: int) -> bytes:
    """An IPv6 frame with an extension header of 8 bytes."""
    head = bytearray(data[14:54])
    extra = bytes([head[6], 0, 0, 0 if kind == 44 else 1, 4, 0, 0, 0])
    if kind == 44:
        extra = bytes([head[6], 0, 0, 1, 0, 0, 0, 9])
    head[6] = kind
    head[4:6] = struct.pack("!H", len(data) - 54 + 8)
    return data[:14] + bytes(head) + extra + data[54:]


def fragment4(data: bytes, word: int) -> bytes:
    return data[:20] + struct.pack("!H", word) + data[22:]


def fragment(data: bytes, version: int, offset: int, number: int) -> bytes:
    """`data` as a fragment that isn't the last, at `offset` (in units of 8 bytes), of datagram `number`."""
    if version == 6:
        data = extension6(data, 44)
        return data[:56] + struct.pack("!HI", offset << 3 | 1, number) + data[62:]
    data = fragment4(data, 0x2000 | offset)
    return data[:18] + struct.pack("!H", number) + data[20:]


def vlan(data: bytes) -> bytes:
    return data[:12] + b"\x81\x00\x00\x05" + data[12:]


def cut(data: bytes) -> bytes:
    return data[:-3]


LEFT_ALONE = {
    "options": (4, options4, "UNSUPPORTED_PASSED"),
    "hop-by-hop options": (6, lambda d: extension6(d, 0), "UNSUPPORTED_PASSED"),
    "destination options": (6, lambda d: extension6(d, 60), "UNSUPPORTED_PASSED"),
    "cut short": (4, cut, "MALFORMED_PASSED"),
    "cut short, v6": (6, cut, "MALFORMED_PASSED"),
    "not version 4": (4, lambda d: d[:14] + b"\x55" + d[15:], "MALFORMED_PASSED"),
    "not version 6": (6, lambda d: d[:14] + b"\x50" + d[15:], "MALFORMED_PASSED"),
    "DCCP": (4, lambda d: d[:23] + b"\x21" + d[24:], "UNSUPPORTED_PASSED"),
    "VLAN": (4, vlan, ""),
    "VLAN, v6": (6, vlan, ""),
    "ARP": (4, lambda d: d[:12] + b"\x08\x06" + d[14:], ""),
}


@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_what_is_not_for_us_is_left_alone_and_counted(world: World, kind: str):
    version, change, reason = LEFT_ALONE[kind]
    for program, protocol in itertools.product(("ingress", "egress", "xdp"), ("tcp", "udp")):
        data = change(frame(f"{protocol} client:4000 > api:80", version))
        before = world.reason(reason) if reason else 0
        assert world.raw(program, ETH0, data) == ("pass", data)
        assert not reason or world.reason(reason) == before + 1
    assert flows(world, version) == 0


@BOTH
def test_fragments_go_where_the_first_one_went(world: World, version: int):
    def sent(text: str, offset: int, number: int, program: str = "ingress") -> tuple[str, bool]:
        """The verdict, and whether the fragment was changed."""
        data = fragment(frame(text, version), version, offset, number)
        verdict, after = world.raw(program, ETH0, data)
        return verdict, after != data

    to_api, to_port = "udp client:4000 > api:80", "udp client:4000 > node:30080"
    assert sent(to_api, 100, 1) == ("drop", False)  # nobody knows yet whose it is
    assert world.reason("FRAGMENT_DROPPED") == 1
    assert sent(to_port, 100, 2) == ("pass", False)  # perhaps the node's own
    assert world.reason("FRAGMENT_PASSED") == 1
    assert sent(to_api, 0, 1) == sent(to_api, 100, 1) == ("redirect", True)
    assert sent(to_port, 0, 2) == sent(to_port, 100, 2) == ("redirect", True)
    assert sent(to_api, 100, 3) == ("drop", False)
    assert len(world.entries(f"fragments{version}")) == 2
    assert sent("tcp client:4000 > api:80", 0, 4) == ("pass", False)
    before = world.reason("FRAGMENT_PASSED")
    assert sent(to_api, 100, 1, "xdp") == ("pass", False)  # tc takes it
    assert world.reason("FRAGMENT_PASSED") == before


@BOTH
def test_every_drop_and_refusal_is_counted(world: World, version: int):
    for step, reason in [
        ("ingress near: tcp near:4000 > empty:80 S", "NO_ENDPOINT_REJECTED"),
        ("ingress near: udp near:4000 > closed:80", "POLICY_DROPPED"),
        ("ingress eth0: udp stranger:4000 > ranged:80", "SOURCE_RANGE_DROPPED"),
        ("ingress near: udp near:4000 > free:80", "UNALLOCATED_DROPPED"),
        ("ingress near: udp near:4000 > web:81", "UNKNOWN_PORT_REJECTED"),
        ("ingress eth0: udp client:4000 > stale:80", "NO_ROUTE_DROPPED"),
    ]:
        assert world.reason(reason) == 0
        world.says(step, version)
        assert world.reason(reason) == 1, reason
    assert flows(world, version) == 0


@BOTH
def test_connections_packets_and_bytes_are_counted(world: World, version: int):
    for program in ("ingress", "xdp"):
        for _ in range(3):
            world.run(program, ETH0, "udp client:4000 > open:80", version, payload=b"12345")
    header = 28 if version == 4 else 48
    assert world.sum_of("counters", world.backends[version, "open far"]) == (1, 6, 6 * (header + 5))


@BOTH
def test_refusals_go_back_where_the_packet_came_from(world: World, version: int):
    _, after = world.run("ingress", NEAR, "tcp near:4000 > empty:80 S", version)
    assert after.macs == MACS["gateway"] + MACS["eth0"]  # turned round
    _, after = world.run("egress", ETH0, "tcp node:4000 > empty:80 S", version)
    assert after.macs == bytes(12)  # for lo


@BOTH
def test_errors_carry_the_packet_in_full_headers(world: World, version: int):
    head = 20 if version == 4 else 40
    for line, size in (("udp near:4000 > empty:80", 8), ("tcp near:4000 > empty:80 S", 20)):
        sent = frame(line, version, payload=b"x" * 900)
        verdict, out = world.raw("ingress", NEAR, sent)
        assert verdict == "redirect"
        assert out[14 + head + 8 :] == sent[14 : 14 + head + size]


@BOTH
def test_too_big_for_the_way(world: World, version: int):
    world.run("ingress", NEAR, "udp near:4000 > api:80", version)
    for _ in range(2):
        verdict, after = world.run("ingress", NEAR, "udp near:4000 > api:80", version, payload=b"x" * 1600)
        assert verdict == "redirect"
        assert after.text == "toobig api > near about udp near:4000 > api:80"
        assert after.fields["mtu"] == 1500
    verdict, after = world.run("xdp", ETH0, "udp client:4000 > open:80", version, payload=b"x" * 1600)
    assert (verdict, after.text) == ("pass", "udp client:4000 > open:80")
    if version == 4:  # may be fragmented: by the stack
        verdict, after = world.run("ingress", NEAR, "udp near:4000 > api:80", payload=b"x" * 1600, df=False)
        assert (verdict, after.text) == ("pass", "udp near:4000 > far:8080")


@BOTH
def test_masquerading_takes_another_port_where_the_own_is_taken(world: World, version: int):
    def port(client: str) -> int:
        verdict, after = world.run("ingress", ETH0, f"udp {client} > api:80", version)
        assert verdict == "redirect"
        assert after.text.startswith("udp node:")
        return int(after.text.split()[1].rpartition(":")[2])

    assert port("client:4000") == 4000
    taken = port("stranger:4000")
    assert taken != 4000
    assert taken >= 1024
    assert port("client:4000") == 4000
    assert port("stranger:4000") == taken
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.enter(world.namespace), socket.socket(family, socket.SOCK_DGRAM) as own:
        own.bind(("", 4321))  # answers to it would go to this socket
        assert port("client:4321") != 4321
    assert port("stranger:4321") == 4321
    assert (
        world.says(f"ingress eth0: udp far:8080 > node:{taken}", version)
        == "redirect: udp api:80 > stranger:4000 ttl=63"
    )


@BOTH
def test_two_frontends_of_one_backend_and_one_client_port(world: World, version: int):
    assert (
        world.says("ingress near: udp near:4000 > api:80", version)
        == "redirect: udp near:4000 > far:8080 ttl=63"
    )
    changed = world.says("ingress near: udp near:4000 > open:80", version)
    assert changed != "redirect: udp near:4000 > far:8080 ttl=63"
    port = changed.split()[2].rpartition(":")[2]
    assert (
        world.says("ingress eth0: udp far:8080 > near:4000", version)
        == "redirect: udp api:80 > near:4000 ttl=63"
    )
    assert (
        world.says(f"ingress eth0: udp far:8080 > near:{port}", version)
        == "redirect: udp open:80 > near:4000 ttl=63"
    )


def test_no_port_is_left(world: World):
    """Every port of the node, but the few that are never tried, has a living connection to the backend."""
    never = 1 << 62
    replies, forwards = (bytearray(), bytearray()), (bytearray(), bytearray())
    web, ours, theirs, far = (
        struct.pack("!H", 80),
        address("node", 4),
        address("stranger", 4),
        address("far", 4),
    )
    for number in (4000, *range(1024, 32000)):
        port = struct.pack("!H", number)
        replies[0].extend(layout.FLOW_KEY4.pack(far, ours, b"\x1f\x90", port, 17))
        replies[1].extend(
            layout.FLOW4.pack(
                address("open", 4), theirs, web, port, 1, 1, C["FLOW_REPLY"], 0, never, 0, bytes(12)
            )
        )
        forwards[0].extend(layout.FLOW_KEY4.pack(theirs, address("open", 4), port, web, 17))
        forwards[1].extend(layout.FLOW4.pack(ours, far, port, b"\x1f\x90", 1, 1, 0, 0, never, 0, bytes(12)))
    for keys, values in (replies, forwards):
        library.update_batch(world.maps["flows4"], keys, values, len(keys) // layout.FLOW_KEY4.size)
    drops = sum(world.says(f"ingress eth0: udp 203.0.113.{i}:4000 > api:80") == "drop" for i in range(1, 200))
    assert drops == world.reason("NO_PORT_DROPPED")
    assert drops < 5  # half of the ports are free, and fifteen are tried: one in 32,768


@BOTH
def test_affinity(world: World, version: int):
    def backend(port: int, client: str = "near") -> str:
        return world.says(f"ingress near: udp {client}:{port} > sticky:80", version).split()[4]

    first = backend(1)
    assert {backend(port) for port in range(1, 40)} == {first}
    others = {backend(7, f"10.0.0.{i}" if version == 4 else f"fd02::{i:x}") for i in range(10, 60)}
    assert others == {"near:8080", "far:8080", "far2:8080"}
    # while the endpoint is usable only
    number = world.backends[version, f"sticky {first.partition(':')[0]}"]
    raw, port, family, flags, service = world.get("backends", (number,))
    try:
        world.put("backends", (number,), (raw, port, family, flags & ~C["BACKEND_CLUSTER"], service))
        chosen = {backend(port) for port in range(100, 140)}
    finally:
        world.put("backends", (number,), (raw, port, family, flags, service))
    assert len(chosen) == 1
    # for the time it says only
    (key, (index, _)) = next(
        item for item in world.entries(f"affinity{version}").items() if item[0][0] == address("near", version)
    )
    world.put(f"affinity{version}", key, (index, 0))
    assert len({backend(port) for port in range(200, 210)}) == 1


@BOTH
def test_all_backends_get_their_share(world: World, version: int):
    def shares() -> dict[str, int]:
        seen: dict[str, int] = {}
        for port in range(2000, 2400):
            line = world.says(f"ingress near: tcp near:{port} > pool:80 S", version)
            seen[line.split()[4]] = seen.get(line.split()[4], 0) + 1
        return seen

    hashed = shares()
    world.clear()
    assert shares() == hashed  # the same choice each time
    world.clear()
    world.configure(C["CONFIG_RANDOM"])
    drawn = shares()
    for seen in (hashed, drawn):
        assert len(seen) == 4
        assert all(60 <= count <= 140 for count in seen.values()), seen
    assert drawn != hashed


@BOTH
def test_classes_of_sources(world: World, version: int):
    """Pods by their addresses instead of their interface."""
    ones = b"\xff" * (4 if version == 4 else 16)
    config = list(world.get("config", (0,)))
    config[0] = C[f"CONFIG_PODS_BY_CIDR{version}"]
    config[2 if version == 4 else 4] = address("client", version)
    config[3 if version == 4 else 5] = ones
    world.put("config", (0,), tuple(config))
    assert (
        world.says("ingress eth0: udp client:4000 > api:80", version)
        == "redirect: udp client:4000 > far:8080 ttl=63"
    )
    assert (
        world.says("ingress eth0: udp stranger:4000 > api:80", version)
        == "redirect: udp node:4000 > far:8080 ttl=63"
    )
