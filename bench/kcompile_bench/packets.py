"""Nanoseconds a packet of the eBPF programs, by BPF_PROG_TEST_RUN in a throw-away namespace. Needs root.

A wrapper restores the packet before each run, writes the flow's addresses and ports into it, and calls the
program under test; what the wrapper takes with a program that does nothing is subtracted. The floor is a
program that swaps the Ethernet addresses and sends; beside established flows stands a program that only looks
its flow up, which at 65,536 of them is a matter of the machine's caches. "woken" is the first packet of each
established flow after a second of silence; "direct" ones are for no Service.

``python -m kcompile_bench.packets [--services N]... [--beside PINNED] [--json FILE]``

`--beside`: another load balancer's XDP program, loaded and set up by its own tools (Katran's, say) and pinned
in a bpffs. It gets the same packets in the same rounds; a last column has the ratio. Its VIPs must be
10.96.0.0 and the addresses after it, TCP port 80, as many as there are Services.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from kcompile.kernel.bpf import entries, library, packet_filter, programs, testrun
from kcompile.kernel.bpf.syscall import Fd
from kcompile.kernel.netns import entered
from kcompile.targets.xdp import layout
from kcompile.targets.xdp.layout import CONSTANTS as C
from kcompile.targets.xdp.layout import MAPS
from kcompile.targets.xdp.resources import Config

from .environment import environment
from .netns import batch, namespaces, sysctl

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FLOWS", "HOOKS", "SERVICES", "Case", "Node", "cases", "main", "node", "table"]

SERVICES = (1, 1_000, 10_000)
FLOWS = (1, 65_536)
MANY_FLOWS = 1 << 20  # with the most Services only
HOOKS = ("xdp", "ingress")
_INTERFACE, _TCP = 10, 6
_PROG_ARRAY = 3  # BPF_MAP_TYPE_PROG_ARRAY
_VIPS = struct.unpack("!I", socket.inet_aton("10.96.0.0"))[0]
_CONFIG = Config("", "", (), "off", False)
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
_NEW = ("new", "new, full table")
_DIRECT = ("direct SYN", "direct ACK")
_SYN, _ACK = 0x02, 0x10
_ROOM = 65_536  # new flows of a round
_SECOND = 1.1


class Case(NamedTuple):
    """`what`: the floor, one look-up, an established flow, a new one, or a packet that no Service touches.

    No `services`, `flows` for the floor, no `flows` for new ones.
    """

    hook: str
    what: str
    services: int = 0
    flows: int = 0


def cases(services: Sequence[int], many: int = 0) -> list[Case]:
    """`many`: how many Services the largest number of flows is measured with; 0: none."""
    found = []
    for hook in HOOKS:
        found.append(Case(hook, "floor"))
        for count in services:
            for flows in (*FLOWS, MANY_FLOWS) if count == many else FLOWS:
                found += [Case(hook, what, count, flows) for what in ("look-up", "established")]
            found.append(Case(hook, "woken", count, FLOWS[-1]))
            found += [Case(hook, what, count) for what in (*_NEW, *_DIRECT)]
    return found


class Node:
    """Maps of a node with some number of Services, one remote backend each, and every program with its
    wrapper.
    """

    def __init__(self, services: int, flows: int = 0) -> None:
        self.services = services
        self.maps = {
            m.name: library.create_map(
                m.type, m.key.size, m.value.size, _capacity(m, services, flows), m.flags, m.name
            )
            for m in MAPS.values()
        }
        self.maps["restored"] = library.create_map(2, 4, 72, 1, 0, "restored")
        self.programs = {
            name: fd
            for file in ("xdp.c", "tc.c")
            for name, fd in programs.load(programs.compile_file(file), self.maps).items()
        }
        self.wrappers: dict[str, dict[str, Fd]] = {}
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
        library.update(self.maps["config"], layout.INDEX.pack(0), entries.config(_CONFIG, 0))
        packet_filter.complete(self.maps)

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

    def run(self, case: Case, count: int, program: str | Fd = "") -> float:
        """Nanoseconds a packet of `count`, wrapper and all.

        `program`: another one in the place of the one under test, or the name of one of the wrapper's.
        """
        fd = self.wrappers[case.hook][program] if isinstance(program, str) and program else program
        fd = fd or self.programs[case.hook]
        assert isinstance(fd, Fd)
        library.update(self.under_test[case.hook], layout.INDEX.pack(0), layout.INDEX.pack(fd.number))
        mask = 0xFFFFFFFF if case.what in _NEW else max(case.flows, 1) - 1
        packet = _packet(case.what)
        number = library.lookup(self.maps["restored"], layout.INDEX.pack(0), 72) or bytes(72)
        state = packet.ljust(56, b"\0") + number[56:64] + struct.pack("=II", mask, self.services)
        library.update(self.maps["restored"], layout.INDEX.pack(0), state)
        context = bytearray(24 if case.hook == "xdp" else 192)
        struct.pack_into("=I", context, 12 if case.hook == "xdp" else 40, _INTERFACE)
        if case.hook == "xdp":
            struct.pack_into("=I", context, 4, len(packet))
        _, _, nanoseconds, _ = testrun.prog_test_run(
            self.wrappers[case.hook]["wrapper"], packet, repeat=count, context=bytes(context)
        )
        return nanoseconds

    def prepare(self, case: Case, program: str | Fd = "") -> None:
        """What `case` finds there: its flows, known and established, or a full table."""
        if case.flows:
            self.run(case._replace(what="opening"), 2 * case.flows, program)
        if case.what == "new, full table":
            self.run(case, 2 * library.map_info(self.maps["brief4"]).max_entries, program)
        if case.flows and not program:
            self.establish()

    def figure(self, case: Case, count: int, program: str | Fd = "") -> float:
        """Net nanoseconds a packet."""
        if case.what == "new":
            self.forget()
            count = min(count, _ROOM)
        bare = self.run(case, count, "nothing")
        if case.what == "woken":
            time.sleep(_SECOND)
            count = case.flows
        return max(0.0, self.run(case, count, program or _OTHERS.get(case.what, "")) - bare)

    def connections(self) -> int:
        """How many flows there are, by the entries of their replies."""
        return sum(len(keys) for _, keys, _ in self._replies())

    def forget(self) -> None:
        """Remove all flows."""
        for name in layout.flow_maps(4):
            for keys, _, count in list(library.lookup_batch(self.maps[name])):
                library.delete_batch(self.maps[name], keys, count)

    def _replies(self) -> Iterator[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Each piece of a map's entries of replies: the map's name, keys and values."""
        import numpy as np

        for name in layout.flow_maps(4):
            for keys, values, _ in library.lookup_batch(self.maps[name]):
                key = np.frombuffer(keys, dtype=[*_ENDS, ("protocol", "V4")])
                value = np.frombuffer(values, dtype=_ENDS + _REST)
                replies = (value["flags"] & C["FLOW_REPLY"]) != 0
                yield name, key[replies], value[replies]

    def establish(self) -> None:
        """Make every connection one that is established, in the order in which they began: neighbours in
        time are neighbours in memory.
        """
        import numpy as np

        found = list(self._replies())
        keys, values = (np.concatenate([piece[at] for piece in found]) for at in (1, 2))
        client = values["daddr"].view(">u4").astype(np.uint64) << np.uint64(16)
        order = np.argsort(client | values["dport"].view(">u2").astype(np.uint64))
        pair_keys, pair_values = (np.repeat(each[order], 2) for each in (keys, values))
        for new, old in ((pair_keys, pair_values), (pair_values, pair_keys)):
            for end in ("addr", "port"):  # every second one mirrors its neighbour
                new[f"s{end}"][::2], new[f"d{end}"][::2] = (
                    np.copy(old[f"d{end}"][1::2]),
                    np.copy(old[f"s{end}"][1::2]),
                )
        pair_values["flags"][::2] = 0
        pair_values["flags"][1::2] &= ~np.uint16(C["FLOW_OPENING"])
        self.forget()
        library.update_batch(self.maps["flows4"], pair_keys.tobytes(), pair_values.tobytes(), len(pair_keys))


_ENDS = [("saddr", "V4"), ("daddr", "V4"), ("sport", "V2"), ("dport", "V2")]
_REST = [("numbers", "V8"), ("flags", "u2"), ("mtu", "u2"), ("seen", "u8"), ("way", "V16")]


def _capacity(m: layout.MapLayout, services: int, flows: int) -> int:
    """That of a node with room for `services`, and for all flows that a case begins."""
    if m.name in layout.flow_maps(4):
        return max(MAPS["flows4"].capacity, 3 * flows)  # the kernel evicts a little before a map is full
    of_services = ("frontends4", "names", "pools", "slots", "backends", "counters")
    return max(m.capacity, 2 * services) if m.name in of_services else m.capacity


def _packet(what: str) -> bytes:
    """A TCP packet to the first Service or, direct, to none. Checksums don't matter: they are adjusted."""
    ethernet = bytes.fromhex((_MACS["node"] + _MACS["next"]).replace(":", "")) + b"\x08\x00"
    to = struct.pack("!I", _VIPS) if what not in _DIRECT else socket.inet_aton("10.192.0.0")
    flags = _SYN if what in (*_NEW, "opening", "direct SYN") else _ACK
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 7, 0x4000, 64, _TCP, 0) + socket.inet_aton("10.200.0.1") + to
    return ethernet + ip + struct.pack("!HHIIBBHHH", 0, 80, 1, 1, 5 << 4, flags, 1000, 0, 0)


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


def measured(
    services: Sequence[int], rounds: int, count: int, beside: Fd | None = None
) -> dict[str, dict[Case, list[float]]]:
    """Net nanoseconds of every case, a figure a round: of ours ("") and of what is beside it."""
    figures: dict[str, dict[Case, list[float]]] = {"": {}, "beside": {}}
    for number in services:
        for case in cases([number], max(services)):
            if case in figures[""]:
                continue
            under = Node(number, case.flows)
            compared = beside if case.hook == "xdp" and case.what in _COMPARED else None
            under.prepare(case)
            if compared:
                under.prepare(case, compared)
            for _ in range(rounds):
                figures[""].setdefault(case, []).append(under.figure(case, count))
                if compared:
                    figures["beside"].setdefault(case, []).append(under.figure(case, count, compared))
            flows = under.connections()
            if flows < case.flows or bool(flows) is not bool(case.flows or case.what in _NEW):
                raise RuntimeError(f"{case}: {flows} flows were made")
    return figures


_COMPARED = (*_NEW, "established", "woken")


def table(figures: dict[Case, float], beside: dict[Case, float] | None = None) -> str:
    """A Markdown table: a row for each case, nanoseconds for each hook; `beside`: and over those of XDP."""
    more = (" beside | ratio |", " --- | --- |") if beside else ("", "")
    lines = [f"| | Services | flows | XDP | tc |{more[0]}", f"| --- | --- | --- | --- | --- |{more[1]}"]
    for case, value in figures.items():
        other = figures.get(case._replace(hook="ingress"))
        if case.hook != "xdp" or other is None:
            continue
        cells = (f"{case.services:,}" if case.services else "", f"{case.flows:,}" if case.flows else "")
        line = f"| {case.what} | {' | '.join(cells)} | {value:.0f} | {other:.0f} |"
        if beside:
            theirs = beside.get(case)
            line += f" {theirs:.0f} | {value / theirs:.2f} |" if theirs else " | |"
        lines.append(line)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.packets", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--services", type=int, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=500_000, help="packets a figure")
    parser.add_argument("--beside", metavar="PINNED", help="another load balancer's pinned XDP program")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    beside = library.obj_get(options.beside, "beside") if options.beside else None
    if options.beside and beside is None:
        parser.error(f"{options.beside}: no program is pinned there")
    machine = environment()
    with node():
        figures = measured(options.services or SERVICES, options.rounds, options.count, beside)
    medians = {
        whose: {case: median(values) for case, values in each.items()} for whose, each in figures.items()
    }
    print(table(medians[""], medians["beside"]))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        results = [
            {**case._asdict(), "of": whose or "kcompile", "ns": median(values), "all": values}
            for whose, each in figures.items()
            for case, values in each.items()
        ]
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
