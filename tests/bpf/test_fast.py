"""What makes packets fast must not make them wrong: filter, kept next hops, entries that are made late."""

import socket
import struct
import time

import pytest

from kcompile.kernel.bpf import flows, library, packet_filter
from kcompile.targets.xdp import layout
from kcompile.targets.xdp.layout import CONSTANTS as C

from .frames import address
from .world import ETH0, World

pytestmark = pytest.mark.kernel
BOTH = pytest.mark.parametrize("version", [4, 6])
SYN, TO_FAR = "ingress near: tcp near:4000 > api:80 S", "redirect: tcp near:4000 > far:8080"
_SETTLED = 1


def cells(world: World) -> bytes:
    return bytes(library.map_bytes(world.maps["filter"]))[8:]


def settled(world: World, value: int) -> None:
    library.map_bytes(world.maps["filter"])[_SETTLED] = value


def forget(world: World, version: int) -> None:
    """Every entry falls out of its map."""
    for key in list(world.entries(f"flows{version}")):
        assert world.remove(f"flows{version}", key)


@BOTH
def test_the_loader_finds_the_cells_that_the_programs_set(world: World, version: int):
    before = cells(world)
    world.says(SYN, version)
    world.says("ingress near: udp near:4100 > pool:80", version)
    by_programs = cells(world)
    assert sum(by_programs) >= sum(before)
    memory = library.map_bytes(world.maps["filter"])
    memory[8:] = bytes(len(memory) - 8)
    packet_filter.complete(world.maps)
    assert not any(ours and not theirs for ours, theirs in zip(cells(world), by_programs, strict=True))


@BOTH
def test_a_filter_that_is_full_is_made_again(world: World, version: int):
    del version
    memory = library.map_bytes(world.maps["filter"])
    memory[8:] = b"\1" * (len(memory) - 8)
    packet_filter.resume(world.maps, settled=False)
    assert 0 < sum(cells(world)) < 1000


@BOTH
def test_a_flow_is_translated_though_its_frontend_is_gone(world: World, version: int):
    world.says(SYN, version)
    world.says("ingress eth0: tcp far:8080 > near:4000 SA", version)
    frontend = address("api", version), struct.pack("!H", 80), socket.IPPROTO_TCP
    value = world.get(f"frontends{version}", frontend)
    assert value is not None
    assert world.remove(f"frontends{version}", frontend)
    try:
        packet_filter.complete(world.maps)
        assert world.says("ingress near: tcp near:4000 > api:80 A", version) == f"{TO_FAR} A ttl=63"
    finally:
        world.put(f"frontends{version}", frontend, value)


@BOTH
def test_the_answer_makes_the_clients_entry(world: World, version: int):
    assert world.says(SYN, version) == f"{TO_FAR} S ttl=63"
    (reply,) = world.entries(f"flows{version}").values()
    assert reply[6] & C["FLOW_OPENING"]
    ((_, protocol, client, answer),) = flows.translated(world.maps, time.monotonic_ns())
    near, api, far = (address(place, version) for place in ("near", "api", "far"))
    ports = [port.to_bytes(2) for port in (4000, 80, 8080)]
    assert (protocol, tuple(client)) == (socket.IPPROTO_TCP, (near, api, ports[0], ports[1]))
    assert tuple(answer) == (far, near, ports[2], ports[0])
    answer = world.says("ingress eth0: tcp far:8080 > near:4000 SA", version)
    assert answer == "redirect: tcp api:80 > near:4000 SA ttl=63"
    entries = world.entries(f"flows{version}").values()
    assert [value[6] & C["FLOW_OPENING"] for value in entries] == [0, 0]
    assert world.says("ingress near: tcp near:4000 > api:80 A", version) == f"{TO_FAR} A ttl=63"


@BOTH
def test_a_syn_that_comes_again_is_the_same_connection(world: World, version: int):
    backend = world.backends[version, "api far"]
    assert world.says(SYN, version) == world.says(SYN, version) == f"{TO_FAR} S ttl=63"
    assert len(world.entries(f"flows{version}")) == 2
    assert world.sum_of("counters", backend)[:2] == (1, 2)


@BOTH
def test_an_answer_of_another_backend_than_the_clients_is_none(world: World, version: int):
    """The pool changes between two SYNs of a connection: the first answer decides."""
    api = world.backends[version, "api far"]
    was = world.get("backends", (api,))
    assert was is not None
    world.says(SYN, version)
    try:
        world.put("backends", (api,), (address("far2", version).ljust(16, b"\0"), *was[1:]))
        assert world.says(SYN, version) == "redirect: tcp near:4000 > far2:8080 S ttl=63"
        assert "api:80 > near:4000" in world.says("ingress eth0: tcp far:8080 > near:4000 SA", version)
        assert world.says("ingress eth0: tcp far2:8080 > near:4000 SA", version) == "pass"
        assert world.says("ingress near: tcp near:4000 > api:80 A", version) == f"{TO_FAR} A ttl=63"
    finally:
        world.put("backends", (api,), was)


@BOTH
def test_a_connection_that_fell_out_goes_on(world: World, version: int):
    """Not before every connection that is older than the programs has been carried over."""
    line = "ingress near: tcp near:4000 > api:80 A"
    world.says(SYN, version)
    forget(world, version)
    assert world.says(line, version) == "pass"
    settled(world, 1)
    try:
        assert world.says(line, version) == f"{TO_FAR} A ttl=63"
        assert world.says("ingress eth0: tcp far:8080 > near:4000 A", version).startswith(
            "redirect: tcp api:80"
        )
        assert world.reason("FLOW_REMADE") == 1
        assert world.says("ingress near: tcp near:4001 > api:80 R", version) == "pass"
    finally:
        settled(world, 0)


@BOTH
def test_a_next_hop_is_kept_for_its_source_and_interface_only(world: World, version: int):
    world.says(SYN, version)
    kept = [
        layout.MAPS[f"next_hops{version}"].value.unpack_from(value)
        for i in range(C["NEXT_HOPS"])
        for value in _each_cpu(world, version, i)
    ]
    found = [hop for hop in kept if hop[1] == address("far", version)]
    assert {(hop[0], hop[3]) for hop in found} == {(address("near", version), ETH0)}
    assert world.says("ingress near: tcp near:4002 > api:80 S", version) == (
        "redirect: tcp near:4002 > far:8080 S ttl=63"
    )


def _each_cpu(world: World, version: int, index: int) -> list[bytes]:
    size = layout.MAPS[f"next_hops{version}"].value.size
    found = library.lookup(
        world.maps[f"next_hops{version}"], layout.INDEX.pack(index), size * library.possible_cpus()
    )
    assert found is not None
    return [found[at : at + size] for at in range(0, len(found), size)]
