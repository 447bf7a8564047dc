"""Every map of bpf/maps.h: type, flags, key and value format, and capacity.

Formats are those of the module struct, without alignment: padding of bpf/structs.h is written out. Addresses
and ports are bytes in network order; an IPv4 address in a field of 16 bytes is followed by zeros. The
constants are those of bpf/consts.h. tests/bpf compares all of it with the compiled headers.
"""

from __future__ import annotations

import struct

import msgspec

__all__ = [
    "ADDED",
    "BACKEND",
    "CONFIG",
    "CONSTANTS",
    "COUNTER",
    "FLOW4",
    "FLOW6",
    "FLOW_KEY4",
    "FLOW_KEY6",
    "FRAGMENT",
    "FRAGMENT_KEY4",
    "FRAGMENT_KEY6",
    "FRONTEND",
    "FRONTEND_KEY4",
    "FRONTEND_KEY6",
    "INDEX",
    "INTERFACE",
    "LOCAL",
    "LOCAL_KEY4",
    "LOCAL_KEY6",
    "LRU_HASH",
    "MAPS",
    "MMAPABLE",
    "MapLayout",
    "NAME",
    "NO_PREALLOC",
    "POOL",
    "RANGE_KEY4",
    "RANGE_KEY6",
    "REASON",
    "SCHEMA",
    "SERVICE_CIDRS",
    "SLOT",
    "STRUCTS",
    "flow_maps",
]

SCHEMA = 1
"""Version of the formats below, part of the pins' path. Raise it whenever a key or a value changes its
format: maps of another version are never read.
"""

INDEX = struct.Struct("=I")  # keys of arrays
FRONTEND_KEY4 = struct.Struct("=4s2sBx")  # address, port, protocol
FRONTEND_KEY6 = struct.Struct("=16s2sBx")
FRONTEND = struct.Struct("=IBBBBIB3x")  # service, pods, host, others, flags, affinity_timeout, kind
POOL = struct.Struct("=II")  # first, size
SLOT = struct.Struct("=I")  # backend
BACKEND = struct.Struct("=16s2sBBI")  # address, port, family, flags, service
FLOW_KEY4 = struct.Struct("=4s4s2s2sB3x")  # saddr, daddr, sport, dport, protocol
FLOW_KEY6 = struct.Struct("=16s16s2s2sB3x")
# saddr, daddr, sport, dport, backend, service, flags, mtu, last_seen, ifindex, macs
FLOW4 = struct.Struct("=4s4s2s2sIIHHQI12s")
FLOW6 = struct.Struct("=16s16s2s2sIIHHQI12s")
FRAGMENT_KEY4 = struct.Struct("=4s4s4sB3x")  # saddr, daddr, id, protocol
FRAGMENT_KEY6 = struct.Struct("=16s16s4sB3x")
FRAGMENT = struct.Struct("=2s2sIQ")  # sport, dport, fits, seen
FILTER_CELLS = 1 << 18
FILTER = struct.Struct(f"=BB6x{FILTER_CELLS}s")  # complete, settled, cells
# source, destination, input, ifindex, until, mtu, flags, macs
CACHED_HOP4 = struct.Struct("=4s4sIIQHH12s")
CACHED_HOP6 = struct.Struct("=16s16sIIQHH12s")
AFFINITY_KEY4 = struct.Struct("=4sI")  # client, service
AFFINITY_KEY6 = struct.Struct("=16sI")
AFFINITY = struct.Struct("=I4xQ")  # backend, last_seen
RANGE_KEY4 = struct.Struct("=II4s")  # prefixlen, service, address
RANGE_KEY6 = struct.Struct("=II16s")
RANGE = struct.Struct("=B")
LOCAL_KEY4 = struct.Struct("=4s")
LOCAL_KEY6 = struct.Struct("=16s")
LOCAL = struct.Struct("=I")  # flags
INTERFACE = struct.Struct("=I4s16s")  # flags, masquerade_address4, masquerade_address6
SERVICE_CIDRS = 4
CONFIG = struct.Struct(
    f"=I4xQ4s4s16s16s{4 * SERVICE_CIDRS}s{4 * SERVICE_CIDRS}s{16 * SERVICE_CIDRS}s{16 * SERVICE_CIDRS}s"
)
COUNTER = struct.Struct("=QQQ")  # connections, packets, bytes
REASON = struct.Struct("=Q")
POWER = struct.Struct("=I")  # a polynomial over GF(2)
NAME = struct.Struct("=BB2x188s")  # protocol, family, text
SOCKET_KEY = struct.Struct("=Q16s2s6x")  # cookie, address, port
SCRATCH = struct.Struct("=512s")
SOCKET_PEER = struct.Struct("=16s2s2xI")  # address, port, service

STRUCTS = {
    "frontend_key4": FRONTEND_KEY4,
    "frontend_key6": FRONTEND_KEY6,
    "frontend": FRONTEND,
    "pool": POOL,
    "backend": BACKEND,
    "flow_key4": FLOW_KEY4,
    "flow_key6": FLOW_KEY6,
    "flow4": FLOW4,
    "flow6": FLOW6,
    "fragment_key4": FRAGMENT_KEY4,
    "fragment_key6": FRAGMENT_KEY6,
    "fragment": FRAGMENT,
    "filter": FILTER,
    "cached_hop4": CACHED_HOP4,
    "cached_hop6": CACHED_HOP6,
    "affinity_key4": AFFINITY_KEY4,
    "affinity_key6": AFFINITY_KEY6,
    "affinity": AFFINITY,
    "range_key4": RANGE_KEY4,
    "range_key6": RANGE_KEY6,
    "local_address": LOCAL,
    "interface": INTERFACE,
    "config": CONFIG,
    "counter": COUNTER,
    "name": NAME,
    "socket_key": SOCKET_KEY,
    "socket_peer": SOCKET_PEER,
    "scratch": SCRATCH,
}

# bpf/consts.h, name by name
CONSTANTS = {
    "VERDICT_PASS": 0,
    "VERDICT_DNAT": 1,
    "VERDICT_REJECT": 2,
    "VERDICT_DROP": 3,
    "VERDICT_MASK": 3,
    "POOL_LOCAL": 4,
    "MASQUERADE": 8,
    "FRONTEND_RANGES": 1,
    "FRONTEND_AFFINITY": 2,
    "KIND_CLUSTER_IP": 1,
    "KIND_EXTERNAL_IP": 2,
    "KIND_LOAD_BALANCER": 3,
    "KIND_NODE_PORT": 4,
    "KIND_ADDRESS": 5,
    "BACKEND_CLUSTER": 1,
    "BACKEND_LOCAL": 2,
    "BACKEND_ON_NODE": 4,
    "BACKEND_HAIRPIN": 8,
    "BACKEND_SERVING": 16,
    "ADDRESS_NODE_PORTS": 1,
    "ADDRESS_MASQUERADE": 2,
    "INTERFACE_PODS": 1,
    "INTERFACE_PEER": 2,
    "INTERFACE_XDP": 4,
    "FLOW_REPLY": 1,
    "FLOW_TO_STACK": 2,
    "FLOW_CLOSING": 4,
    "FLOW_FIN": 8,
    "FLOW_DIRECT": 16,
    "FLOW_PEER": 32,
    "FLOW_XDP": 64,
    "FLOW_SEEN": 128,
    "FLOW_OPENING": 256,
    "CONFIG_PODS_BY_CIDR4": 1,
    "CONFIG_PODS_BY_CIDR6": 2,
    "CONFIG_SOCKET_TCP": 4,
    "CONFIG_SOCKET_UDP": 8,
    "CONFIG_RANDOM": 16,
    "FILTER_CELLS": FILTER_CELLS,
    "NEXT_HOPS": 4096,
    "SERVICE_CIDRS": SERVICE_CIDRS,
    "CRC32C_LARGE": 128,
    "REASON_NO_ENDPOINT_REJECTED": 0,
    "REASON_POLICY_DROPPED": 1,
    "REASON_SOURCE_RANGE_DROPPED": 2,
    "REASON_UNALLOCATED_DROPPED": 3,
    "REASON_UNKNOWN_PORT_REJECTED": 4,
    "REASON_NO_PORT_DROPPED": 5,
    "REASON_NO_ROUTE_DROPPED": 6,
    "REASON_FRAGMENT_PASSED": 7,
    "REASON_UNSUPPORTED_PASSED": 8,
    "REASON_MALFORMED_PASSED": 9,
    "REASON_FRAGMENT_DROPPED": 10,
    "REASON_FLOW_RESTORED": 11,
    "REASON_FLOW_REMADE": 12,
    "REASONS": 16,
}

# <linux/bpf.h>: enum bpf_map_type, and flags of BPF_MAP_CREATE
_HASH, _ARRAY, _PERCPU_ARRAY, LRU_HASH, _LPM_TRIE = 1, 2, 6, 9, 11
NO_PREALLOC = 0x1  # memory follows use
MMAPABLE = 0x400  # read and written as memory: a batch takes 200 ns an entry

# What a map has room for at first, where that follows the cluster: twice what it needs, or this.
_SERVICES = 1_024
_BACKENDS = 4_096
_FRONTENDS = 4_096


class MapLayout(msgspec.Struct, frozen=True, gc=False):
    """One map. `type`, `flags`: the kernel's numbers. `capacity`: entries, unless a cluster needs more.

    Maps that are too small are replaced by larger ones (kernel/bpf/grow.py).
    """

    name: str
    type: int
    key: struct.Struct
    value: struct.Struct
    capacity: int
    flags: int = 0


_ALL = (
    MapLayout("config", _ARRAY, INDEX, CONFIG, 1),
    MapLayout("interfaces", _HASH, INDEX, INTERFACE, 16_384, NO_PREALLOC),
    MapLayout("locals4", _HASH, LOCAL_KEY4, LOCAL, 4_096, NO_PREALLOC),
    MapLayout("locals6", _HASH, LOCAL_KEY6, LOCAL, 4_096, NO_PREALLOC),
    MapLayout("frontends4", _HASH, FRONTEND_KEY4, FRONTEND, _FRONTENDS, NO_PREALLOC),
    MapLayout("frontends6", _HASH, FRONTEND_KEY6, FRONTEND, _FRONTENDS, NO_PREALLOC),
    MapLayout("ranges4", _LPM_TRIE, RANGE_KEY4, RANGE, _FRONTENDS, NO_PREALLOC),
    MapLayout("ranges6", _LPM_TRIE, RANGE_KEY6, RANGE, _FRONTENDS, NO_PREALLOC),
    MapLayout("pools", _ARRAY, INDEX, POOL, 2 * _SERVICES, MMAPABLE),
    MapLayout("slots", _ARRAY, INDEX, SLOT, 262_144, MMAPABLE),
    MapLayout("backends", _ARRAY, INDEX, BACKEND, _BACKENDS, MMAPABLE),
    MapLayout("affinity4", LRU_HASH, AFFINITY_KEY4, AFFINITY, 65_536),
    MapLayout("affinity6", LRU_HASH, AFFINITY_KEY6, AFFINITY, 65_536),
    MapLayout("flows4", LRU_HASH, FLOW_KEY4, FLOW4, 262_144),
    MapLayout("flows6", LRU_HASH, FLOW_KEY6, FLOW6, 262_144),
    MapLayout("sockets", LRU_HASH, SOCKET_KEY, SOCKET_PEER, 65_536),
    MapLayout("names", _HASH, INDEX, NAME, _SERVICES, NO_PREALLOC),
    MapLayout("counters", _PERCPU_ARRAY, INDEX, COUNTER, _BACKENDS),
    MapLayout("reasons", _PERCPU_ARRAY, INDEX, REASON, CONSTANTS["REASONS"]),
    MapLayout("scratch", _PERCPU_ARRAY, INDEX, SCRATCH, 1),
    MapLayout("fragments4", LRU_HASH, FRAGMENT_KEY4, FRAGMENT, 8_192),
    MapLayout("fragments6", LRU_HASH, FRAGMENT_KEY6, FRAGMENT, 8_192),
    MapLayout("brief4", LRU_HASH, FLOW_KEY4, FLOW4, 65_536),
    MapLayout("brief6", LRU_HASH, FLOW_KEY6, FLOW6, 65_536),
    MapLayout("crc32c", _ARRAY, INDEX, POWER, 2 * CONSTANTS["CRC32C_LARGE"]),
    MapLayout("next_hops4", _PERCPU_ARRAY, INDEX, CACHED_HOP4, CONSTANTS["NEXT_HOPS"]),
    MapLayout("next_hops6", _PERCPU_ARRAY, INDEX, CACHED_HOP6, CONSTANTS["NEXT_HOPS"]),
    MapLayout("filter", _ARRAY, INDEX, FILTER, 1, MMAPABLE),
)
MAPS = {layout.name: layout for layout in _ALL}

ADDED = {"fragments4", "fragments6", "brief4", "brief6", "crc32c", "next_hops4", "next_hops6", "filter"}
"""Maps that a node of an earlier build of this schema lacks: the next apply makes them, empty."""


def flow_maps(version: int) -> tuple[str, str]:
    """The maps of an IP version's connections: established ones, and those that aren't yet or have closed."""
    return f"flows{version}", f"brief{version}"
