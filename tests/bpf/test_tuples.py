"""The same addresses and ports again: connections that end, direct ones beside translated ones, entries that
fall out of the map.
"""

from __future__ import annotations

import struct
import time

import pytest

from harness import netns
from kcompile.kernel.bpf import library, testrun
from kcompile.kernel.bpf.flows import filling
from kcompile.targets.xdp.layout import CONSTANTS as C

from .frames import address, frame
from .world import ETH0, INDEX, World, make

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("version", [4, 6])
SECOND = 1_000_000_000
FLAGS = C["FLOW_REPLY"] | C["FLOW_TO_STACK"] | C["FLOW_DIRECT"]


def flows(world: World, version: int) -> int:
    return len(world.entries(f"flows{version}"))


def finish(world: World, version: int, port: int = 4000) -> None:
    """A connection of near to api from SYN to the last ACK."""
    for step in (
        f"ingress near: tcp near:{port} > api:80 S", f"ingress eth0: tcp far:8080 > near:{port} SA",
        f"ingress near: tcp near:{port} > api:80 FA", f"ingress eth0: tcp far:8080 > near:{port} FA",
        f"ingress near: tcp near:{port} > api:80 A",
    ):  # fmt: skip
        assert world.says(step, version).startswith("redirect: ")


@BOTH
def test_a_connection_ends(world: World, version: int):
    finish(world, version)
    closing = C["FLOW_CLOSING"]
    assert [value[6] & closing for value in world.entries(f"flows{version}").values()] == [closing] * 2
    world.clear()
    world.says("ingress near: tcp near:4000 > api:80 S", version)
    world.says("ingress eth0: tcp far:8080 > near:4000 RA", version)
    assert [value[6] & closing for value in world.entries(f"flows{version}").values()] == [closing] * 2


@BOTH
def test_a_direct_connection_after_a_translated_one(world: World, version: int):
    finish(world, version)
    assert world.says("ingress near: tcp near:4000 > far:8080 S", version) == "pass"
    assert flows(world, version) == 0
    assert world.says("ingress eth0: tcp far:8080 > near:4000 SA", version) == "pass"


@BOTH
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_direct_connection_beside_a_translated_one(world: World, version: int, protocol: str):
    begin, answer = ("S", "SA") if protocol == "tcp" else ("", "")

    def says(step: str, flags: str) -> str:
        return world.says(f"{step} {flags}".strip(), version)

    says(f"ingress near: {protocol} near:4000 > api:80", begin)
    direct = says(f"ingress near: {protocol} near:4000 > far:8080", begin)
    port = int(direct.split()[2].rpartition(":")[2])
    assert direct == f"redirect: {protocol} near:{port} > far:8080 {begin}".strip() + " ttl=63"
    assert port != 4000
    assert (
        says(f"ingress eth0: {protocol} far:8080 > near:{port}", answer)
        == f"redirect: {protocol} far:8080 > near:4000 {answer}".strip() + " ttl=63"
    )
    assert (
        says(f"ingress eth0: {protocol} far:8080 > near:4000", answer)
        == f"redirect: {protocol} api:80 > near:4000 {answer}".strip() + " ttl=63"
    )


@BOTH
def test_a_syn_after_the_end_chooses_again(world: World, version: int):
    finish(world, version)
    api = world.backends[version, "api far"]
    raw, port, family, flags, service = world.get("backends", (api,))
    try:
        world.put(
            "backends", (api,), (address("far2", version).ljust(16, b"\0"), port, family, flags, service)
        )
        assert (
            world.says("ingress near: tcp near:4000 > api:80 S", version)
            == "redirect: tcp near:4000 > far2:8080 S ttl=63"
        )
    finally:
        world.put("backends", (api,), (raw, port, family, flags, service))


@BOTH
def test_a_syn_after_its_backend_went_chooses_again_but_a_connection_goes_on(world: World, version: int):
    world.says("ingress near: tcp near:4000 > api:80 S", version)
    world.says("ingress eth0: tcp far:8080 > near:4000 SA", version)
    api = world.backends[version, "api far"]
    was = world.get("backends", (api,))
    try:
        world.put("backends", (api,), (address("far2", version).ljust(16, b"\0"), *was[1:]))
        assert (
            world.says("ingress near: tcp near:4000 > api:80 A", version)
            == "redirect: tcp near:4000 > far:8080 A ttl=63"
        )
        assert (
            world.says("ingress near: tcp near:4000 > api:80 S", version)
            == "redirect: tcp near:4000 > far2:8080 S ttl=63"
        )
        assert world.says("ingress eth0: tcp far:8080 > near:4000 A", version) == "pass"
    finally:
        world.put("backends", (api,), was)


@BOTH
def test_either_entry_is_made_again_from_the_other(world: World, version: int):
    world.says("ingress eth0: udp client:4000 > api:80", version)
    pair = world.entries(f"flows{version}")
    for lost, kept in (tuple(pair), tuple(reversed(pair))):
        value = list(world.get(f"flows{version}", kept) or ())
        value[8] -= 2 * SECOND  # as if it had been silent for two seconds
        world.put(f"flows{version}", kept, tuple(value))
        assert world.remove(f"flows{version}", lost)
        forward = kept[0] == address("client", version)
        step = "udp client:4000 > api:80" if forward else "udp far:8080 > node:4000"
        assert world.says(f"ingress eth0: {step}", version).startswith("redirect: ")
        again = world.entries(f"flows{version}")
        assert set(again) == set(pair)
        assert all(
            again[key][:6] == pair[key][:6] and (again[key][6] ^ pair[key][6]) & FLAGS == 0 for key in pair
        )


@BOTH
def test_udp_that_was_silent_for_long_is_new(world: World, version: int):
    world.says("ingress near: udp near:4000 > api:80", version)
    for key, value in world.entries(f"flows{version}").items():
        world.put(f"flows{version}", key, (*value[:8], value[8] - 121 * SECOND, *value[9:]))
    assert world.says("ingress eth0: udp far:8080 > near:4000", version) == "pass"
    assert flows(world, version) == 0
    assert (
        world.says("ingress near: udp near:4000 > api:80", version)
        == "redirect: udp near:4000 > far:8080 ttl=63"
    )
    assert world.sum_of("counters", world.backends[version, "api far"])[0] == 2


@BOTH
def test_an_answer_whose_forward_entry_is_of_another_backend_is_no_answer(world: World, version: int):
    world.says("ingress near: udp near:4000 > api:80", version)
    forward, reply = sorted(
        world.entries(f"flows{version}").items(), key=lambda item: item[1][6] & C["FLOW_REPLY"]
    )
    world.put(f"flows{version}", forward[0], (forward[1][0], address("far2", version), *forward[1][2:]))
    old = (*reply[1][:8], reply[1][8] - 2 * SECOND, *reply[1][9:])
    world.put(f"flows{version}", reply[0], old)
    assert world.says("ingress eth0: udp far:8080 > near:4000", version) == "pass"


def test_forwarded_packets_are_not_looked_at_on_their_way_out(world: World):
    data = frame("udp node:4000 > api:80")
    with netns.enter(world.namespace):
        context = bytearray(192)
        struct.pack_into("=2I", context, 36, INDEX["near"], ETH0)  # ingress_ifindex, ifindex
        verdict, out, _, _ = testrun.prog_test_run(world.programs["egress"], data, context=bytes(context))
    assert (verdict & 0xFFFFFFFF, out) == (0xFFFFFFFF, data)


@BOTH
def test_a_flood_takes_no_room_from_established_connections(version: int):
    """Connections that come to nothing, and those that have closed, are in a map of their own."""
    with make(most=1024) as small:

        def send(text: str) -> str:
            return small.raw("ingress", ETH0, frame(text, version))[0]

        def established() -> int:
            return sum(count for _, _, count in library.lookup_batch(small.maps[f"flows{version}"]))

        def connect(port: int) -> None:
            send(f"tcp client:{port} > api:80 S")
            send(f"tcp far:8080 > node:{port} SA")
            send(f"tcp client:{port} > api:80 A")

        held = range(2000, 2100)
        for port in held:
            connect(port)
        assert established() == 2 * len(held)
        for port in range(10_000, 12_000):
            send(f"tcp client:{port} > api:80 S")
            send(f"udp client:{port} > api:80")
        for port in range(20_000, 21_500):
            connect(port)
            send(f"tcp client:{port} > api:80 R")
        assert established() == 2 * len(held)
        assert {send(f"tcp client:{port} > api:80 A") for port in held} == {"redirect"}


@BOTH
def test_when_datagrams_are_a_flow(world: World, version: int):
    """After the first answer, or a second."""

    def established() -> int:
        return sum(count for _, _, count in library.lookup_batch(world.maps[f"flows{version}"]))

    world.says("ingress near: udp near:4000 > api:80", version)
    world.says("ingress near: udp near:4000 > api:80", version)
    assert established() == 0
    world.says("ingress eth0: udp far:8080 > near:4000", version)
    assert established() == 2
    world.says("ingress near: udp near:4001 > api:80", version)
    for key, value in world.entries(f"flows{version}").items():
        world.put(f"flows{version}", key, (*value[:8], value[8] - 2 * SECOND, *value[9:]))
    world.says("ingress near: udp near:4001 > api:80", version)
    assert established() == 4

    name = f"flows{version}"
    now = time.monotonic_ns()
    assert filling(world.maps, now)[name] == (4, 65536)
    assert filling(world.maps, now + 121 * SECOND)[name] == (0, 65536)  # may go
