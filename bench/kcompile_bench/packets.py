"""Nanoseconds a packet of the eBPF programs, by BPF_PROG_TEST_RUN in a throw-away namespace. Needs root.

A wrapper restores the packet before each run, writes the flow's addresses and ports into it, and calls the
program under test; what the wrapper takes with a program that does nothing is subtracted. The floor is a
program that swaps the Ethernet addresses and sends; beside established flows stands a program that only looks
its flow up, which at 65,536 of them is a matter of the machine's caches.

``python -m kcompile_bench.packets [--services N]... [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from kcompile.kernel.bpf import library, programs, testrun
from kcompile.kernel.netns import entered
from kcompile.targets.xdp import layout
from kcompile.targets.xdp.layout import CONSTANTS as C
from kcompile.targets.xdp.layout import MAPS

from .environment import environment
from .netns import batch, namespaces, sysctl

__all__ = ["FLOWS", "HOOKS", "SERVICES", "Case", "Node", "cases", "main", "node", "table"]

SERVICES = (1, 1_000, 10_000)
FLOWS = (1, 65_536)
HOOKS = ("xdp", "ingress")
_INTERFACE, _TCP = 10, 6
_PROG_ARRAY = 3  # BPF_MAP_TYPE_PROG_ARRAY
_LARGE = {
    **dict.fromkeys(("names", "pools", "backends", "counters"), 131_072),
    "frontends4": 524_288,
    "slots": 4_194_304,
}
_VIPS = struct.unpack("!I", socket.inet_aton("10.96.0.0"))[0]
_MACS = {"node": "02:00:00:00:00:01", "next": "02:00:00:00:00:02"}

_WRAPPER = """
#include "common.h"
struct restored { __u8 packet[56]; __u64 number; __u32 mask, services; };
MAP(40, under_test, prog_array, __u32, __u32)
MAP(41, restored, array, __u32, struct restored)

int wrapper(packet_context *ctx)
{
    __u32 zero = 0;
    struct restored *it = LOOKUP(restored, &zero);
    void *data = DATA(ctx);
    if (!it || data + 54 > DATA_END(ctx))
        return ACTION_DROP;
    __builtin_memcpy(data, it->packet, 54);
    __u32 flow = it->number++ & it->mask;
    *(__be32 *)(data + 26) += NET32(flow >> 16);
    *(__be32 *)(data + 30) += NET32((__u32)((__u64)murmur3_fmix32(flow) * it->services >> 32));
    *(__be16 *)(data + 34) = NET16((__u16)flow);
    bpf_tail_call_(bpf_pseudo_fd(1, MAP_under_test), ctx, 0);
    return ACTION_DROP;
}
int nothing(packet_context *ctx) { return ACTION_DROP; }
int swap(packet_context *ctx)
{
    struct ethernet_header *ethernet = DATA(ctx);
    if ((void *)(ethernet + 1) > DATA_END(ctx))
        return ACTION_DROP;
    __u8 source[ETH_ALEN];
    __builtin_memcpy(source, ethernet->source, ETH_ALEN);
    __builtin_memcpy(ethernet->source, ethernet->destination, ETH_ALEN);
    __builtin_memcpy(ethernet->destination, source, ETH_ALEN);
    return SENT;
}
int look(packet_context *ctx)
{
    void *data = DATA(ctx);
    if (data + 54 > DATA_END(ctx))
        return ACTION_DROP;
    struct flow_key4 key = {
        .saddr = *(__be32 *)(data + 26),
        .daddr = *(__be32 *)(data + 30),
        .sport = *(__be16 *)(data + 34),
        .dport = *(__be16 *)(data + 36),
        .protocol = IPPROTO_TCP,
    };
    struct flow4 *flow = LOOKUP(flows4, &key);
    return flow ? ACTION_DROP + 100 * flow->flags : ACTION_DROP;
}
"""


_OTHERS = {"floor": "swap", "look-up": "look"}


class Case(NamedTuple):
    """`what`: the floor, one look-up, an established flow or a new one.

    No `services`, `flows` for the floor, no `flows` for new ones.
    """

    hook: str
    what: str
    services: int = 0
    flows: int = 0


def cases(services: Sequence[int]) -> list[Case]:
    return [
        case
        for hook in HOOKS
        for case in (
            Case(hook, "floor"),
            *(
                Case(hook, what, count, flows)
                for count in services
                for flows in FLOWS
                for what in ("look-up", "established")
            ),
            *(Case(hook, "new", count) for count in services),
        )
    ]


class Node:
    """Maps of a node with some number of Services, one remote backend each, and every program with its
    wrapper.
    """

    def __init__(self, services: int) -> None:
        self.services = services
        self.maps = {
            m.name: library.create_map(m.type, m.key.size, m.value.size, _capacity(m), m.flags, m.name)
            for m in MAPS.values()
        }
        self.maps["restored"] = library.create_map(2, 4, 72, 1, 0, "restored")
        self.programs = {
            name: fd
            for file in ("xdp.c", "tc.c")
            for name, fd in programs.load(programs.compile_file(file), self.maps).items()
        }
        self.wrappers: dict[str, dict[str, library.Fd]] = {}
        self.under_test = {hook: library.create_map(_PROG_ARRAY, 4, 4, 1, 0, "under_test") for hook in HOOKS}
        for hook in HOOKS:
            defines = ["SENT=XDP_TX"] if hook == "xdp" else ["TC", "SENT=bpf_redirect(10, 0)"]
            kind = programs.KINDS[hook]
            objects = programs.compile_text(_WRAPPER, defines)
            self.wrappers[hook] = programs.load(
                objects,
                {**self.maps, "under_test": self.under_test[hook]},
                dict.fromkeys(objects.programs, kind),
            )
        self._fill()

    def _fill(self) -> None:
        dnat = C["VERDICT_DNAT"]
        indices = b"".join(layout.INDEX.pack(i) for i in range(2 * self.services))
        keys, frontends, pools, slots, backends = (bytearray() for _ in range(5))
        for i in range(self.services):
            keys += layout.FRONTEND_KEY4.pack(struct.pack("!I", _VIPS + i), b"\0\x50", _TCP)
            frontends += layout.FRONTEND.pack(i, dnat, dnat, dnat, 0, 0, C["KIND_CLUSTER_IP"])
            pools += layout.POOL.pack(i, 1) + layout.POOL.pack(0, 0)
            slots += layout.SLOT.pack(i)
            address = struct.pack("!I", struct.unpack("!I", socket.inet_aton("10.128.0.0"))[0] + i)
            backends += layout.BACKEND.pack(address.ljust(16, b"\0"), b"\x1f\x90", 4, C["BACKEND_CLUSTER"], i)
        single = indices[: 4 * self.services]
        library.update_batch(self.maps["frontends4"], keys, frontends, self.services)
        library.update_batch(self.maps["pools"], indices, pools, 2 * self.services)
        library.update_batch(self.maps["slots"], single, slots, self.services)
        library.update_batch(self.maps["backends"], single, backends, self.services)
        interface = layout.INTERFACE.pack(0, socket.inet_aton("192.168.1.1"), bytes(16))
        library.update(self.maps["interfaces"], layout.INDEX.pack(_INTERFACE), interface)

    def run(self, case: Case, count: int, program: str = "") -> float:
        """Nanoseconds a packet of `count`, wrapper and all.

        `program`: another one in the place of the one under test.
        """
        wrappers = self.wrappers[case.hook]
        fd = wrappers[program] if program else self.programs[case.hook]
        library.update(self.under_test[case.hook], layout.INDEX.pack(0), layout.INDEX.pack(fd.number))
        mask = 0xFFFFFFFF if case.what == "new" else max(case.flows, 1) - 1
        packet = _packet(syn=case.what in ("new", "opening"))
        number = library.lookup(self.maps["restored"], layout.INDEX.pack(0), 72) or bytes(72)
        state = packet.ljust(56, b"\0") + number[56:64] + struct.pack("=II", mask, self.services)
        library.update(self.maps["restored"], layout.INDEX.pack(0), state)
        context = bytearray(24 if case.hook == "xdp" else 192)
        struct.pack_into("=I", context, 12 if case.hook == "xdp" else 40, _INTERFACE)
        if case.hook == "xdp":
            struct.pack_into("=I", context, 4, len(packet))
        _, _, nanoseconds, _ = testrun.prog_test_run(
            wrappers["wrapper"], packet, repeat=count, context=bytes(context)
        )
        return nanoseconds

    def connections(self) -> int:
        """How many flows there are."""
        maps = (self.maps[name] for name in layout.flow_maps(4))
        return sum(count for each in maps for _, _, count in library.lookup_batch(each)) // 2

    def establish(self) -> None:
        """Make every connection one that is established, in the order in which they began: neighbours in
        time are neighbours in memory.
        """
        flows, brief = (self.maps[name] for name in layout.flow_maps(4))
        pairs: list[tuple[bytes, bytes]] = []
        for keys, values, _ in library.lookup_batch(brief):
            pairs += zip(
                _pieces(keys, layout.FLOW_KEY4.size), _pieces(values, layout.FLOW4.size), strict=True
            )
        pairs.sort(key=lambda pair: _begun(pair[0]))
        keys, values = (b"".join(each) for each in zip(*pairs, strict=True))
        library.update_batch(flows, keys, values, len(pairs))
        library.delete_batch(brief, keys, len(pairs))


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _begun(key: bytes) -> tuple[bytes, bool]:
    """What the entries of flows4 sort by: the client's port, then the reply first."""
    _, _, sport, dport, _ = layout.FLOW_KEY4.unpack(key)
    forward = dport == b"\0\x50"
    return (sport if forward else dport), forward


def _capacity(m: layout.MapLayout) -> int:
    """That of a large node; brief4, of connections that aren't established, has room for all of a case."""
    if m.name == "brief4":
        return MAPS["flows4"].capacity
    return max(m.capacity, _LARGE.get(m.name, 0))


def _packet(*, syn: bool) -> bytes:
    """A TCP packet to the first Service; its checksums don't matter, they are carried on."""
    ethernet = bytes.fromhex((_MACS["node"] + _MACS["next"]).replace(":", "")) + b"\x08\x00"
    ip = (
        struct.pack("!BBHHHBBH", 0x45, 0, 40, 7, 0x4000, 64, _TCP, 0)
        + socket.inet_aton("10.200.0.1")
        + struct.pack("!I", _VIPS)
    )
    return ethernet + ip + struct.pack("!HHIIBBHHH", 0, 80, 1, 1, 5 << 4, 2 if syn else 16, 1000, 0, 0)


@contextmanager
def node() -> Iterator[None]:
    """Be in a namespace whose one interface leads to the backends."""
    with namespaces("packets") as (name,):
        sysctl(name, {"ipv4/ip_forward": 1})
        batch(
            [
                f"link add eth0 index {_INTERFACE} type veth peer name peer",
                f"link set eth0 address {_MACS['node']} up",
                "link set peer up",
                "addr add 192.168.1.1/24 dev eth0",
                "route add 10.128.0.0/9 via 192.168.1.2",
                f"neigh add 192.168.1.2 lladdr {_MACS['next']} dev eth0 nud permanent",
            ],
            name,
        )
        with entered(name):
            yield


def measured(services: Sequence[int], rounds: int, count: int) -> dict[Case, list[float]]:
    """Net nanoseconds of every case, a figure a round.

    Each case has maps of its own, filled in one go as a node's are.
    """
    figures: dict[Case, list[float]] = {}
    for number in services:
        for case in cases([number]):
            if case in figures:
                continue
            under = Node(number)
            if case.flows:
                under.run(case._replace(what="opening"), 2 * case.flows)  # every flow is known
                under.establish()
            for _ in range(rounds):
                bare = under.run(case, count, "nothing")
                took = under.run(case, count, _OTHERS.get(case.what, ""))
                figures.setdefault(case, []).append(max(0.0, took - bare))
            if under.connections() < max(case.flows, case.what != "floor"):
                raise RuntimeError(f"{case}: {under.connections()} flows were made")
    return figures


def table(figures: dict[Case, float]) -> str:
    """A Markdown table: a row for each case, nanoseconds for each hook."""
    lines = ["| | Services | flows | XDP | tc |", "| --- | --- | --- | --- | --- |"]
    for case, value in figures.items():
        if case.hook == "xdp":
            other = figures.get(case._replace(hook="ingress"))
            cells = (f"{case.services:,}" if case.services else "", f"{case.flows:,}" if case.flows else "")
            lines.append(
                f"| {case.what} | {' | '.join(cells)} | {value:.0f} | {other:.0f} |"
                if other is not None
                else ""
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.packets", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--services", type=int, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=500_000, help="packets a figure")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    machine = environment()
    with node():
        figures = measured(options.services or SERVICES, options.rounds, options.count)
    print(table({case: median(values) for case, values in figures.items()}))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        results = [
            {**case._asdict(), "ns": median(values), "all": values} for case, values in figures.items()
        ]
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
