/* Our connection tracking: pairs of entries in flows4 or flows6. Included for each family.
 *
 *   forward   key: client -> frontend      value: source -> backend
 *   reply     key: backend -> source       value: frontend -> client
 *
 * Source is the client, or what it was masqueraded as. Each entry can be made from the other.
 */

struct V(work) { /* in struct scratch */
    struct V_KEY(flow) other;
    struct V_KEY(frontend) frontend;
    struct V(flow) forward, reply;
    struct bpf_fib_lookup fib;
    struct bpf_redir_neigh hop;
    struct bpf_sock_tuple tuple;
    struct V_KEY(affinity) sticky;
    struct V_KEY(range) range;
    struct affinity affinity;
};
_Static_assert(sizeof(struct V(work)) <= sizeof(struct scratch), "scratch is too small");

/* The key of the other direction's entry: `flow` turned round. */
INLINE void V(turned)(struct V_KEY(flow) *key, const struct V(flow) *flow, __u8 protocol)
{
    key->saddr = flow->daddr;
    key->daddr = flow->saddr;
    key->sport = flow->dport;
    key->dport = flow->sport;
    key->protocol = protocol;
    key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

/* Whether `flow` is what the entry of the direction opposite to `key` says. */
INLINE int V(opposite)(const struct V(flow) *flow, const struct V_KEY(flow) *key)
{
    return flow->sport == key->dport && flow->dport == key->sport && V(same)(flow->saddr, key->daddr) && V(same)(flow->daddr, key->saddr);
}

INLINE void V(forget)(struct V(work) *work, const struct V_KEY(flow) *key, const struct V(flow) *flow)
{
    V(turned)(&work->other, flow, key->protocol);
    struct V(flow) *other = LOOKUP(V(flows), &work->other);
    if (other && V(opposite)(other, key))
        DELETE(V(flows), &work->other);
    DELETE(V(flows), key);
}

/* Whether the entry `flow` at `key` stands for no connection any more: closed, silent for long, or without its other half, whose key
 * is put into *other_key. */
INLINE int V(dead)(struct V_KEY(flow) *other_key, const struct V_KEY(flow) *key, const struct V(flow) *flow, __u64 now)
{
    V(turned)(other_key, flow, key->protocol);
    if (flow->flags & FLOW_CLOSING)
        return 1;
    struct V(flow) *other = LOOKUP(V(flows), other_key);
    if (!other || !V(opposite)(other, key))
        return 1;
    return key->protocol == PROTOCOL_UDP && (__s64)(now - flow->seen) > (__s64)UDP_IDLE && (__s64)(now - other->seen) > (__s64)UDP_IDLE;
}

/* Once a second for each entry that has packets: make the other direction's again if it fell out of the map. 0: this entry is dead. */
INLINE int V(mend)(struct V(work) *work, const struct V_KEY(flow) *key, struct V(flow) *flow, __u64 now)
{
    __u64 idle = now - flow->seen;
    V(turned)(&work->other, flow, key->protocol);
    struct V(flow) *other = LOOKUP(V(flows), &work->other);
    if (other) {
        if (!V(opposite)(other, key))
            return 0;
        if (key->protocol == PROTOCOL_UDP && idle > UDP_IDLE && (__s64)(now - other->seen) > (__s64)UDP_IDLE)
            return 0;
    } else {
        if (key->protocol == PROTOCOL_UDP && idle > UDP_IDLE)
            return 0;
        struct V(flow) *again = &work->reply;
        __builtin_memset(again, 0, sizeof(*again));
        again->saddr = key->daddr;
        again->daddr = key->saddr;
        again->sport = key->dport;
        again->dport = key->sport;
        again->backend = flow->backend;
        again->service = flow->service;
        again->flags = (flow->flags & (FLOW_REPLY | FLOW_DIRECT | FLOW_CLOSING)) ^ FLOW_REPLY;
        if (LOOKUP(V(locals), &key->saddr))
            again->flags |= FLOW_TO_STACK;
        again->seen = now;
        UPDATE(V(flows), &work->other, again, BPF_NOEXIST);
    }
    flow->out = 0; /* look at the routes again */
    flow->seen = now;
    return 1;
}

/* A FIN or RST was seen: an entry whose connection is over may be replaced by the next that has its addresses and ports. */
INLINE void V(closing)(struct V(work) *work, const struct V_KEY(flow) *key, struct V(flow) *flow, __u8 tcp)
{
    V(turned)(&work->other, flow, key->protocol);
    struct V(flow) *other = LOOKUP(V(flows), &work->other);
    __u16 flags = FLOW_FIN;
    if (tcp & TCP_RST || !other || other->flags & FLOW_FIN) {
        flags |= FLOW_CLOSING;
        if (other)
            other->flags |= FLOW_CLOSING;
    }
    flow->flags |= flags;
}

INLINE void V(count)(const struct V(flow) *flow, __u32 length)
{
    if (flow->flags & FLOW_DIRECT)
        return;
    __u32 index = flow->backend;
    struct counter *counter = LOOKUP(counters, &index);
    if (counter) {
        counter->packets += 1;
        counter->bytes += length;
    }
}
