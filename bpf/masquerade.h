/* A pair of entries for a new connection, and a source port for it that nobody else has. Included for each family. */

#define PORT_TRIES 16

/* Whether a socket of this node would get the packets for the source that we are about to use. */
INLINE int V(socket_has)(HERE *here, struct V(work) *work, const struct V(flow) *flow, __u8 protocol)
{
    struct bpf_sock_tuple *tuple = &work->tuple;
    struct bpf_sock *socket;
#if FAMILY == 4
    tuple->ipv4.saddr = flow->daddr;
    tuple->ipv4.daddr = flow->saddr;
    tuple->ipv4.sport = flow->dport;
    tuple->ipv4.dport = flow->sport;
#define TUPLE_LENGTH sizeof(tuple->ipv4)
#else
    __builtin_memcpy(tuple->ipv6.saddr, &flow->daddr, 16);
    __builtin_memcpy(tuple->ipv6.daddr, &flow->saddr, 16);
    tuple->ipv6.sport = flow->dport;
    tuple->ipv6.dport = flow->sport;
#undef TUPLE_LENGTH
#define TUPLE_LENGTH sizeof(tuple->ipv6)
#endif
    socket = protocol == PROTOCOL_TCP ? bpf_sk_lookup_tcp(here, tuple, TUPLE_LENGTH, BPF_F_CURRENT_NETNS, 0)
                                      : bpf_sk_lookup_udp(here, tuple, TUPLE_LENGTH, BPF_F_CURRENT_NETNS, 0);
    if (!socket)
        return 0;
    bpf_sk_release(socket);
    return 1;
}

/* Puts the pair for `key` into the map: work->forward says what it becomes, its source port is changed until the tuple that the answers
 * will come by is free. NULL where none is, and nothing is written. */
INLINE struct V(flow) *V(create)(HERE *here, struct V(work) *work, const struct V_KEY(flow) *key, __u64 now)
{
    struct V(flow) *forward = &work->forward, *reply = &work->reply;
    reply->saddr = key->daddr;
    reply->daddr = key->saddr;
    reply->sport = key->dport;
    reply->dport = key->sport;
    reply->backend = forward->backend;
    reply->service = forward->service;
    reply->flags = FLOW_REPLY | (forward->flags & FLOW_DIRECT) | (LOOKUP(V(locals), &key->saddr) ? FLOW_TO_STACK : 0);
    reply->mtu = forward->mtu = 0;
    reply->seen = forward->seen = now;
    reply->out = forward->out = 0;
    __builtin_memset(reply->macs, 0, sizeof(reply->macs));
    __builtin_memset(forward->macs, 0, sizeof(forward->macs));
    forward->sport = key->sport;
    int ours = !V(same)(forward->saddr, key->saddr) || (forward->flags & FLOW_DIRECT && LOOKUP(V(locals), &key->saddr));
    int change = forward->flags & FLOW_DIRECT; /* its own port is what it can't have */
    struct V_KEY(flow) theirs;
    for (int i = 0; i < PORT_TRIES; i++) {
        if (change)
            forward->sport = NET16((__u16)(1024 + ((__u64)bpf_get_prandom_u32() * 64512 >> 32)));
        change = 1;
        if (ours && V(socket_has)(here, work, forward, key->protocol))
            continue;
        V(turned)(&work->other, forward, key->protocol);
        if (!UPDATE(V(flows), &work->other, reply, BPF_NOEXIST))
            goto claimed;
        struct V(flow) *old = LOOKUP(V(flows), &work->other);
        /* free, too, where it is what is left of this very connection, or of one that is over */
        if (!old || V(opposite)(old, key) || V(dead)(&theirs, &work->other, old, now)) {
            if (!UPDATE(V(flows), &work->other, reply, BPF_ANY))
                goto claimed;
        }
    }
    return NULL;
claimed:
    if (UPDATE(V(flows), key, forward, BPF_ANY))
        return NULL;
    struct counter *counter = LOOKUP(counters, &forward->backend);
    if (counter && !(forward->flags & FLOW_DIRECT))
        counter->connections += 1;
    return LOOKUP(V(flows), key);
}
