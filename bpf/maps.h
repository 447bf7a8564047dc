/* The maps: number, name, type, key, value. A program refers to a map by its number; the loader
 * (kernel/bpf/programs.py) puts the map's descriptor there. Capacities and flags are in
 * compiler/kcompile/targets/xdp/layout.py.
 *
 *   frontends    frontends4/6, ranges4/6, locals4/6, interfaces, config
 *   backends     pools -> slots -> backends; affinity4/6
 *   connections  flows4/6 (established), brief4/6 (not yet, or closed); fragments4/6; sockets (of the cgroup hooks)
 *   for people   names, counters (by backend), reasons
 *   constants    crc32c
 *   routes       next_hops4/6
 *   filter       filter
 *   scratch      memory of a run of a program, whose stack has 512 bytes only
 */
#pragma once

#define MAP(number, name, type, key, value) \
    enum { MAP_##name = number };           \
    typedef key name##_key;                 \
    typedef value name##_value;

/* The value at *key, or NULL. (Two macros each, so that `map` may be a macro: family.h.) */
#define LOOKUP(map, key) LOOKUP_(map, key)
#define LOOKUP_(map, key) ((map##_value *)bpf_map_lookup_elem_(bpf_pseudo_fd(1, MAP_##map), (void *)(key)))
/* 0, or an error. */
#define UPDATE(map, key, value, flags) UPDATE_(map, key, value, flags)
#define UPDATE_(map, key, value, flags) \
    bpf_map_update_elem_(bpf_pseudo_fd(1, MAP_##map), (void *)(key), value, flags)
#define DELETE(map, key) DELETE_(map, key)
#define DELETE_(map, key) bpf_map_delete_elem_(bpf_pseudo_fd(1, MAP_##map), (void *)(key))

MAP(1, config, array, __u32, struct config)
MAP(2, interfaces, hash, __u32, struct interface)
MAP(3, locals4, hash, ip_address4, struct local_address)
MAP(4, locals6, hash, ip_address6, struct local_address)
MAP(5, frontends4, hash, struct frontend_key4, struct frontend)
MAP(6, frontends6, hash, struct frontend_key6, struct frontend)
MAP(7, ranges4, lpm_trie, struct range_key4, __u8)
MAP(8, ranges6, lpm_trie, struct range_key6, __u8)

MAP(9, pools, array, __u32, struct pool)
MAP(10, slots, array, __u32, __u32)
MAP(11, backends, array, __u32, struct backend)
MAP(12, affinity4, lru_hash, struct affinity_key4, struct affinity)
MAP(13, affinity6, lru_hash, struct affinity_key6, struct affinity)

MAP(14, flows4, lru_hash, struct flow_key4, struct flow4)
MAP(15, flows6, lru_hash, struct flow_key6, struct flow6)
MAP(16, sockets, lru_hash, struct socket_key, struct socket_peer)

MAP(17, names, hash, __u32, struct name)
MAP(18, counters, percpu_array, __u32, struct counter)
MAP(19, reasons, percpu_array, __u32, __u64)

MAP(20, scratch, percpu_array, __u32, struct scratch)

MAP(21, fragments4, lru_hash, struct fragment_key4, struct fragment)
MAP(22, fragments6, lru_hash, struct fragment_key6, struct fragment)
MAP(23, brief4, lru_hash, struct flow_key4, struct flow4)
MAP(24, brief6, lru_hash, struct flow_key6, struct flow6)
MAP(25, next_hops4, percpu_array, __u32, struct cached_hop4)
MAP(26, next_hops6, percpu_array, __u32, struct cached_hop6)
MAP(27, crc32c, array, __u32, __u32)
MAP(28, filter, array, __u32, struct filter)
