/* A next hop for each pair of addresses and the interface that the packet came in by, as the last route lookup
 * had it: a new connection, and one that wakes up, then needs none of its own. Source and interface are part of
 * it, because policy routing and multipath routes ask for them. Included for each family.
 *
 * Each CPU has its own. An entry is found by a hash, and replaced by whatever has the same one.
 */

#define NEXT_HOP_LIFETIME (NSEC_PER_SEC / 2)

/* Where in the map the next hop of a packet from `source`, as it arrived, to `destination` is. */
INLINE struct cached_hop *next_hop_slot(ip_address source, ip_address destination, __u32 input)
{
    __u32 hash = murmur3_fmix32(address_hash(source) * HASH_FACTOR + address_hash(destination) + input);
    __u32 index = hash % NEXT_HOPS;
    return LOOKUP(next_hops, &index);
}

/* The next hop, or NULL if it isn't known or was looked up too long ago. */
INLINE struct cached_hop *next_hop_recall(packet_context *ctx, ip_address source, ip_address destination,
                                        __u64 now, int hook)
{
    __u32 input = route_input(ctx, hook);
    struct cached_hop *known = next_hop_slot(source, destination, input);
    if (!known || known->until <= now || known->input != input ||
        !address_equal(known->destination, destination) || !address_equal(known->source, source))
        return NULL;
    return known;
}

/* Keeps what `entry`, which packets from `source` have, has just got from a route lookup. */
INLINE void next_hop_store(packet_context *ctx, ip_address source, const struct flow *entry, int hook)
{
    __u32 input = route_input(ctx, hook);
    struct cached_hop *known = next_hop_slot(source, entry->daddr, input);
    if (!known)
        return;
    known->source = source;
    known->destination = entry->daddr;
    known->input = input;
    known->ifindex = entry->ifindex;
    known->mtu = entry->mtu;
    known->flags = entry->flags & (FLOW_PEER | FLOW_XDP);
    __builtin_memcpy(known->macs, entry->macs, sizeof(known->macs));
    known->until = bpf_ktime_get_coarse_ns() + NEXT_HOP_LIFETIME;
}
