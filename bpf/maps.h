/* The maps. bcc makes throw-away ones of these sizes when it compiles; the loader makes the real ones (kernel/bpf), pins them, and puts
 * them in place. Their types and capacities for a node are in compiler/kcompile/targets/xdp/layout.py.
 *
 *   dispatch    frontends4/6, ranges4/6, locals4/6, interfaces, config
 *   selection   pools -> slots -> backends; affinity4/6
 *   translation flows4/6; sockets (hooks on sockets)
 *   for people  names, counters (by backend), reasons
 */
#pragma once

#define MAPS_AT_COMPILE 8

BPF_TABLE("array", __u32, struct config, config, 1);
BPF_TABLE("hash", __u32, struct interface, interfaces, MAPS_AT_COMPILE);
BPF_TABLE("hash", __be32, struct local_address, locals4, MAPS_AT_COMPILE);
BPF_TABLE("hash", struct in6_addr, struct local_address, locals6, MAPS_AT_COMPILE);
BPF_TABLE("hash", struct frontend4_key, struct frontend, frontends4, MAPS_AT_COMPILE);
BPF_TABLE("hash", struct frontend6_key, struct frontend, frontends6, MAPS_AT_COMPILE);
BPF_F_TABLE("lpm_trie", struct range4_key, __u8, ranges4, MAPS_AT_COMPILE, BPF_F_NO_PREALLOC);
BPF_F_TABLE("lpm_trie", struct range6_key, __u8, ranges6, MAPS_AT_COMPILE, BPF_F_NO_PREALLOC);

BPF_TABLE("array", __u32, struct pool, pools, MAPS_AT_COMPILE);
BPF_TABLE("array", __u32, __u32, slots, MAPS_AT_COMPILE);
BPF_TABLE("array", __u32, struct backend, backends, MAPS_AT_COMPILE);
BPF_TABLE("lru_hash", struct affinity4_key, struct affinity, affinity4, MAPS_AT_COMPILE);
BPF_TABLE("lru_hash", struct affinity6_key, struct affinity, affinity6, MAPS_AT_COMPILE);

BPF_TABLE("lru_hash", struct flow4_key, struct flow4, flows4, MAPS_AT_COMPILE);
BPF_TABLE("lru_hash", struct flow6_key, struct flow6, flows6, MAPS_AT_COMPILE);
BPF_TABLE("lru_hash", struct socket_key, struct socket_peer, sockets, MAPS_AT_COMPILE);

BPF_TABLE("hash", __u32, struct name, names, MAPS_AT_COMPILE);
BPF_TABLE("percpu_array", __u32, struct counter, counters, MAPS_AT_COMPILE);
BPF_TABLE("percpu_array", __u32, __u64, reasons, REASONS);
