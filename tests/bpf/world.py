"""A node for the programs: a namespace with routes and neighbours, and maps filled by hand with a dozen
Services.

    uplink eth0 (10)             gateway, other (a node, with the pods far and far2 behind it)
    veths near (20), near2 (21)  the pods near and near2
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator
from typing import Any

from harness import netns
from kcompile.kernel.bpf import crc32c, library, packet_filter, pins, programs, testrun
from kcompile.targets.xdp import layout
from kcompile.targets.xdp.layout import CONSTANTS as C
from kcompile.targets.xdp.layout import MAPS

from .frames import BOOK, MACS, Frame, address, frame, read

__all__ = ["ETH0", "LO", "NEAR", "NEAR2", "World", "make"]

LO, ETH0, NEAR, NEAR2 = 1, 10, 20, 21
INDEX = {"lo": LO, "eth0": ETH0, "near": NEAR, "near2": NEAR2}
TCP, UDP, SCTP = 6, 17, 132
SOURCES = ("tc.c", "xdp.c", "sock.c")
VERDICTS = {-1: "pass", 0: "pass", 2: "drop", 7: "redirect"}
XDP_VERDICTS = {1: "drop", 2: "pass", 3: "transmit", 4: "redirect"}
_DNAT, _MASQUERADED = C["VERDICT_DNAT"], C["VERDICT_DNAT"] | C["MASQUERADE"]
_USUAL = (_DNAT, _MASQUERADED, _MASQUERADED)
_REJECT, _DROP = (C["VERDICT_REJECT"],) * 3, (C["VERDICT_DROP"],) * 3
# name: dispositions of pods, host, others; the backends of the cluster pool; flags; seconds of affinity
SERVICES: dict[str, tuple[tuple[int, int, int], list[tuple[str, int]], int, int]] = {
    "web": (_USUAL, [("near", 8080)], 0, 0),
    "api": (_USUAL, [("far", 8080)], 0, 0),
    "host": (_USUAL, [("node", 9000)], 0, 0),
    "empty": (_REJECT, [], 0, 0),
    "closed": (_DROP, [], 0, 0),
    "sticky": (_USUAL, [("near", 8080), ("far", 8080), ("far2", 8080)], C["FRONTEND_AFFINITY"], 100),
    "ranged": (_USUAL, [("far", 8080)], C["FRONTEND_RANGES"], 0),
    "open": ((_DNAT, _DNAT, _DNAT), [("far", 8080)], 0, 0),
    "pool": (_USUAL, [("near", 8080), ("near2", 8080), ("far", 8080), ("far2", 8080)], 0, 0),
    "stale": (_USUAL, [("lost", 8080)], 0, 0),
}
_FLOWS = (*layout.flow_maps(4), *layout.flow_maps(6))
NODE_PORTS = {30080: "api", 30081: "empty"}
NUMBERS = {name: number for number, name in enumerate(SERVICES, 1)}


def _run(name: str) -> None:
    """Interfaces, routes and neighbours of the node in namespace `name`."""
    lines = ["link set lo up"]
    for interface, index, mac in (("eth0", ETH0, "eth0"), ("near", NEAR, "veth"), ("near2", NEAR2, "veth2")):
        lines += [
            f"link add {interface} index {index} type veth peer name {interface}-peer",
            f"link set {interface} address {MACS[mac].hex(':')} up",
            f"link set {interface}-peer up",
        ]
    for i, bits in enumerate((24, 64)):
        book = {key: pair[i] for key, pair in BOOK.items()}
        host, nodad = (32, "") if i == 0 else (128, " nodad")
        nets = ("10.1.0.0/16", "fd03::/16")[i]
        lines += [
            f"addr add {book['node']}/{bits} dev eth0{nodad}",
            f"addr add {book['pods']}/{host} dev near{nodad}",
            f"route add {book['near']}/{host} dev near",
            f"route add {book['near2']}/{host} dev near2",
            f"route add {nets} via {book['other']}",
            f"route add default via {book['gateway']}",
            f"route add blackhole {book['lost']}/{host}",
        ]
        for place, interface in (
            ("gateway", "eth0"),
            ("other", "eth0"),
            ("near", "near"),
            ("near2", "near2"),
        ):
            lines.append(
                f"neigh add {book[place]} lladdr {MACS[place].hex(':')} dev {interface} nud permanent"
            )
    netns.sysctl(name, {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
    netns.batch(lines, name)


class World:
    """The maps and programs of one node. Interfaces are named by their index."""

    def __init__(
        self,
        namespace: str,
        defines: tuple[str, ...] = (),
        most: int = 65536,
        sources: tuple[str, ...] = SOURCES,
    ) -> None:
        self.namespace = namespace
        self.maps = {
            m.name: library.create_map(
                m.type,
                m.key.size,
                m.value.size,
                min(m.capacity, most if m.name in _FLOWS else 65536),
                m.flags,
                m.name,
            )
            for m in MAPS.values()
        }
        pins.fill_array(self.maps["crc32c"], MAPS["crc32c"].capacity, crc32c.powers())
        self.programs: dict[str, library.Fd] = {}
        for source in sources:
            self.programs |= programs.load(programs.compile_file(source, defines), self.maps)
        self.backends: dict[tuple[int, str], int] = {}
        self._fill()
        packet_filter.complete(self.maps)

    def put(self, name: str, key: tuple[Any, ...], value: tuple[Any, ...]) -> None:
        """Write an entry; of a flow where it is."""
        name = next((one for one in self._places(name) if self._get(one, key) is not None), name)
        library.update(self.maps[name], MAPS[name].key.pack(*key), MAPS[name].value.pack(*value))
        if name.startswith(("frontends", "flows", "brief")):
            packet_filter.complete(self.maps)

    def get(self, name: str, key: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """An entry; flows4 and flows6 mean brief4 and brief6 too, here and below."""
        return next((found for one in self._places(name) if (found := self._get(one, key)) is not None), None)

    def _places(self, name: str) -> tuple[str, ...]:
        return layout.flow_maps(int(name[-1])) if name.startswith("flows") else (name,)

    def remove(self, name: str, key: tuple[Any, ...]) -> bool:
        """Whether there was such an entry."""
        packed = MAPS[name].key.pack(*key)
        return sum(library.delete(self.maps[one], packed) for one in self._places(name)) > 0

    def _get(self, name: str, key: tuple[Any, ...]) -> tuple[Any, ...] | None:
        form = MAPS[name].value
        found = library.lookup(self.maps[name], MAPS[name].key.pack(*key), form.size)
        return None if found is None else form.unpack(found)

    def entries(self, name: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        form = MAPS[name]
        return {
            key: value
            for one in reversed(self._places(name))  # of two entries the first map's counts
            for keys, values, _ in library.lookup_batch(self.maps[one])
            for key, value in zip(form.key.iter_unpack(keys), form.value.iter_unpack(values), strict=True)
        }

    def sum_of(self, name: str, index: int) -> tuple[int, ...]:
        """The entry of a per-CPU map, over all CPUs."""
        form = MAPS[name].value
        found = library.lookup(self.maps[name], layout.INDEX.pack(index), form.size * library.possible_cpus())
        assert found is not None
        return tuple(map(sum, zip(*form.iter_unpack(found), strict=True)))

    def reason(self, name: str) -> int:
        return self.sum_of("reasons", C[f"REASON_{name}"])[0]

    def clear(self) -> None:
        """Forget every connection and every number counted."""
        for name in (*_FLOWS, "fragments4", "fragments6", "affinity4", "affinity6", "sockets"):
            for keys, _, count in list(library.lookup_batch(self.maps[name])):
                library.delete_batch(self.maps[name], keys, count)
        cpus = library.possible_cpus()
        for name, count in (("reasons", C["REASONS"]), ("counters", 64)):
            for i in range(count):
                library.update(self.maps[name], layout.INDEX.pack(i), bytes(MAPS[name].value.size * cpus))

    def _fill(self) -> None:
        for i in range(library.map_info(self.maps["backends"]).max_entries and 64):
            self.put("backends", (i,), (bytes(16), bytes(2), 0, 0, 0))
        next_backend, next_slot = 1, 0
        for family in (4, 6):
            for name in ("node", "pods"):
                self.put(
                    f"locals{family}",
                    (address(name, family),),
                    (C["ADDRESS_NODE_PORTS"] if name == "node" else 0,),
                )
            for service, (dispositions, backends, flags, affinity) in SERVICES.items():
                number = NUMBERS[service] + (100 if family == 6 else 0)
                value = (number, *dispositions, flags, affinity, C["KIND_CLUSTER_IP"])
                for protocol in (TCP, UDP, SCTP):
                    self.put(
                        f"frontends{family}",
                        (address(service, family), struct.pack("!H", 80), protocol),
                        value,
                    )
                refuse = (number, *_REJECT, 0, 0, C["KIND_ADDRESS"])
                self.put(f"frontends{family}", (address(service, family), b"\0\0", 0), refuse)
                first = next_slot
                for place, port in backends:
                    raw = address(place, family).ljust(16, b"\0")
                    near = C["BACKEND_ON_NODE"] | C["BACKEND_HAIRPIN"] if place.startswith("near") else 0
                    self.put(
                        "backends",
                        (next_backend,),
                        (raw, struct.pack("!H", port), family, C["BACKEND_CLUSTER"] | near, number),
                    )
                    self.put("slots", (next_slot,), (next_backend,))
                    self.backends[family, f"{service} {place}"] = next_backend
                    next_slot, next_backend = next_slot + 1, next_backend + 1
                self.put("pools", (2 * number,), (first, next_slot - first))
            for port, service in NODE_PORTS.items():
                dispositions = SERVICES[service][0] if service == "empty" else (_MASQUERADED,) * 3
                value = (
                    NUMBERS[service] + (100 if family == 6 else 0),
                    *dispositions,
                    0,
                    0,
                    C["KIND_NODE_PORT"],
                )
                for protocol in (TCP, UDP, SCTP):
                    self.put(
                        f"frontends{family}",
                        (bytes(4 if family == 4 else 16), struct.pack("!H", port), protocol),
                        value,
                    )
        self.put(
            "ranges4", (32 + 24, NUMBERS["ranged"], socket.inet_pton(socket.AF_INET, "203.0.113.0")), (1,)
        )
        self.put(
            "ranges6",
            (32 + 48, NUMBERS["ranged"] + 100, socket.inet_pton(socket.AF_INET6, "2001:db8:9::")),
            (1,),
        )
        for index, flags, name in (
            (ETH0, C["INTERFACE_XDP"], "node"),
            (NEAR, C["INTERFACE_PODS"] | C["INTERFACE_PEER"], "pods"),
            (NEAR2, C["INTERFACE_PODS"] | C["INTERFACE_PEER"], "pods"),
        ):
            self.put("interfaces", (index,), (flags, address(name, 4), address(name, 6)))
        self.configure()

    def configure(self, flags: int = 0, cookie: int = 0) -> None:
        ones4, ones6 = b"\xff" * 4, b"\xff" * 16
        cidr4, mask4 = socket.inet_aton("10.96.0.0") + bytes(12), socket.inet_aton("255.255.0.0") + ones4 * 3
        cidr6, mask6 = (
            socket.inet_pton(socket.AF_INET6, "fdff::") + bytes(48),
            b"\xff\xff" + bytes(14) + ones6 * 3,
        )
        self.put(
            "config", (0,), (flags, cookie, bytes(4), ones4, bytes(16), ones6, cidr4, mask4, cidr6, mask6)
        )

    def raw(self, program: str, interface: int, data: bytes) -> tuple[str, bytes]:
        """Run `program` on a frame of `interface`: the verdict's name and the frame afterwards."""
        with netns.enter(self.namespace):
            if program == "xdp":
                context = struct.pack("=6I", 0, len(data), 0, interface, 0, 0)
                verdict, out, _, _ = testrun.prog_test_run(self.programs[program], data, context=context)
                return XDP_VERDICTS[verdict], out
            context = bytearray(192)  # struct __sk_buff
            struct.pack_into("=I", context, 40, interface)
            verdict, out, _, _ = testrun.prog_test_run(self.programs[program], data, context=bytes(context))
            return VERDICTS[ctypes.c_int32(verdict).value], out

    def run(
        self, program: str, interface: int, text: str, version: int = 4, **options: Any
    ) -> tuple[str, Frame]:
        """Run `program` on the frame that `text` says."""
        verdict, out = self.raw(program, interface, frame(text, version, **options))
        return verdict, read(out)

    def says(self, step: str, version: int = 4, **options: Any) -> str:
        """One step of a story, ``ingress eth0: LINE``: what became of it, ``redirect: LINE``; ``pass`` alone
        where it is unchanged.
        """
        where, _, text = step.partition(": ")
        program, interface = where.split()
        before = frame(text, version, **options)
        verdict, after = self.raw(program, INDEX[interface], before)
        return verdict if before == after else f"{verdict}: {read(after).text}"


@contextlib.contextmanager
def make(
    defines: tuple[str, ...] = (), most: int = 65536, sources: tuple[str, ...] = SOURCES
) -> Iterator[World]:
    """A world in a namespace of its own, gone at the end.

    `most`: entries of each map of flows. `sources`: the files whose programs it has.
    """
    with netns.group(["world"]) as names:
        _run(names["world"])
        yield World(names["world"], defines, most, sources)
