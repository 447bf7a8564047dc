/* Connection tracking: pairs of entries in flows4 or flows6 (see structs.h). Included for each family. */

/* Memory of one run, in struct scratch. */
struct packet_scratch {
    struct flow_key reverse;
    struct frontend_key frontend;
    struct flow forward, reply;
    struct bpf_fib_lookup fib;
    struct bpf_redir_neigh next_hop;
    struct bpf_sock_tuple tuple;
    struct affinity_key affinity_client;
    struct range_key range;
    struct affinity affinity;
    struct fragment_key datagram;
    struct fragment fragment;
};
_Static_assert(sizeof(struct packet_scratch) <= sizeof(struct scratch), "scratch is too small");

/* Sets *key to the key of the entry that mirrors `entry`: reverse(entry). */
INLINE void flow_reverse_key(struct flow_key *key, const struct flow *entry, __u8 protocol)
{
    key->saddr = entry->daddr;
    key->daddr = entry->saddr;
    key->sport = entry->dport;
    key->dport = entry->sport;
    key->protocol = protocol;
    key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

/* Sets the addresses and ports of *reverse to those that mirror the entry at `key`: reverse(key). */
INLINE void flow_set_mirror(struct flow *reverse, const struct flow_key *key)
{
    reverse->saddr = key->daddr;
    reverse->daddr = key->saddr;
    reverse->sport = key->dport;
    reverse->dport = key->sport;
}

/* True if `reverse` mirrors the entry at `key`. */
INLINE int flow_mirrors(const struct flow *reverse, const struct flow_key *key)
{
    return reverse->sport == key->dport && reverse->dport == key->sport &&
           address_equal(reverse->saddr, key->daddr) && address_equal(reverse->daddr, key->saddr);
}

/* True if the entry has had no packet for as long as conntrack would keep it. For UDP. */
INLINE int flow_is_idle(const struct flow *entry, __u64 now)
{
    return (__s64)(now - entry->last_seen) > (__s64)UDP_STREAM_TIMEOUT;
}

/* The entry at `key`, in whichever map it is; NULL if there is none. */
INLINE struct flow *flow_find(const struct flow_key *key)
{
    struct flow *entry = LOOKUP(flows, key);
    return entry ? entry : LOOKUP(brief, key);
}

/* Moves the entries at `key` and `reverse_key` to the map of established connections, or out of it. Returns the
 * one at `key` where it is now. On the way in they stay in the other map too, where nobody looks while they are
 * in the first: a packet on another CPU, between its two lookups, finds one of them. */
INLINE struct flow *connection_move(const struct flow_key *key, const struct flow_key *reverse_key,
                                    int established)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const struct flow_key *which = i ? key : reverse_key;
        if (established) {
            struct flow *entry = LOOKUP(brief, which);
            if (entry)
                UPDATE(flows, which, entry, BPF_ANY);
        } else {
            struct flow *entry = LOOKUP(flows, which);
            if (entry && !UPDATE(brief, which, entry, BPF_ANY))
                DELETE(flows, which);
        }
    }
    return flow_find(key);
}

/* Deletes the entry at `key` and, if it mirrors that one, the entry at `reverse_key`. */
INLINE void connection_delete(const struct flow_key *key, const struct flow_key *reverse_key)
{
    struct flow *reverse = flow_find(reverse_key);
    if (reverse && flow_mirrors(reverse, key)) {
        DELETE(flows, reverse_key);
        DELETE(brief, reverse_key);
    }
    DELETE(flows, key);
    DELETE(brief, key);
}

/* True if the connection of `entry`, which is at `key`, is over: closed, idle in both directions (UDP), without
 * an answer for too long, or without an entry that mirrors it. *reverse_key becomes that one's key. */
INLINE int connection_is_stale(struct flow_key *reverse_key, const struct flow_key *key,
                               const struct flow *entry, __u64 now)
{
    flow_reverse_key(reverse_key, entry, key->protocol);
    if (entry->flags & FLOW_CLOSING)
        return 1;
    if (entry->flags & FLOW_OPENING)
        return (__s64)(now - entry->last_seen) > (__s64)TCP_SYN_TIMEOUT;
    struct flow *reverse = flow_find(reverse_key);
    if (!reverse || !flow_mirrors(reverse, key))
        return 1;
    return key->protocol == IPPROTO_UDP && flow_is_idle(entry, now) && flow_is_idle(reverse, now);
}

/* Sets scratch->reply to the entry that mirrors `entry`, which is at `key`. */
INLINE struct flow *flow_mirror_init(struct packet_scratch *scratch, const struct flow_key *key,
                                     const struct flow *entry, __u64 now)
{
    struct flow *reverse = &scratch->reply;
    __builtin_memset(reverse, 0, sizeof(*reverse));
    flow_set_mirror(reverse, key);
    reverse->backend = entry->backend;
    reverse->service = entry->service;
    reverse->flags = (entry->flags & (FLOW_REPLY | FLOW_DIRECT | FLOW_CLOSING)) ^ FLOW_REPLY;
    if (LOOKUP(locals, &key->saddr))
        reverse->flags |= FLOW_TO_STACK;
    reverse->last_seen = now;
    return reverse;
}

/* Makes the entry at scratch->reverse, which has fallen out of the map, from the one that it mirrors. */
INLINE void connection_restore_reverse(struct packet_scratch *scratch, const struct flow_key *key,
                                       const struct flow *entry, __u64 now)
{
    if (!UPDATE(flows, &scratch->reverse, flow_mirror_init(scratch, key, entry, now), BPF_NOEXIST))
        count_reason(REASON_FLOW_RESTORED);
}

/* The backend answers for the first time: makes the entry for the client's packets from `entry`, the reply's at
 * `key`. False if the client's packets are another backend's by now: then `entry` is stale. */
INLINE int connection_open(struct packet_scratch *scratch, const struct flow_key *key, struct flow *entry,
                           __u64 now)
{
    flow_reverse_key(&scratch->reverse, entry, key->protocol);
    struct flow *forward = flow_find(&scratch->reverse);
    if (forward && !flow_mirrors(forward, key))
        return 0;
    if (!forward)
        UPDATE(brief, &scratch->reverse, flow_mirror_init(scratch, key, entry, now), BPF_NOEXIST);
    entry->flags &= ~FLOW_OPENING;
    return 1;
}

/* Called once a second for an entry that has packets. Restores the entry that mirrors it, and has the route
 * looked up again. False if the entry is stale. */
INLINE int connection_refresh(struct packet_scratch *scratch, const struct flow_key *key, struct flow *entry,
                              __u64 now)
{
    flow_reverse_key(&scratch->reverse, entry, key->protocol);
    struct flow *reverse = flow_find(&scratch->reverse);
    if (reverse && !flow_mirrors(reverse, key))
        return 0;
    if (key->protocol == IPPROTO_UDP && flow_is_idle(entry, now) && (!reverse || flow_is_idle(reverse, now)))
        return 0;
    if (!reverse)
        connection_restore_reverse(scratch, key, entry, now);
    entry->ifindex = 0;
    entry->last_seen = now;
    return 1;
}

/* Notes a FIN or RST: a new connection with the same addresses and ports may replace one that has closed.
 * Returns the entry, which has moved if that was the end. */
INLINE struct flow *connection_note_close(struct packet_scratch *scratch, const struct flow_key *key,
                                  struct flow *entry, __u8 tcp_flags)
{
    flow_reverse_key(&scratch->reverse, entry, key->protocol);
    struct flow *reverse = flow_find(&scratch->reverse);
    __u16 flags = FLOW_FIN;
    if (tcp_flags & TCP_RST || !reverse || reverse->flags & FLOW_FIN) {
        flags |= FLOW_CLOSING;
        if (reverse)
            reverse->flags |= FLOW_CLOSING;
    }
    int was_closing = entry->flags & FLOW_CLOSING;
    entry->flags |= flags;
    if (!(flags & FLOW_CLOSING) || was_closing)
        return entry;
    return connection_move(key, &scratch->reverse, 0);
}

/* Counts a packet of `length` bytes for the backend. */
INLINE void connection_count_packet(const struct flow *entry, __u32 length)
{
    if (entry->flags & FLOW_DIRECT)
        return;
    __u32 index = entry->backend;
    struct counter *counter = LOOKUP(counters, &index);
    if (counter) {
        counter->packets += 1;
        counter->bytes += length;
    }
}
