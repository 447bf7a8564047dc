/* The two entries of a new connection, and a source port for it that is free. Included for each family. */

#define PORT_TRIES 16

/* True if a socket of this node would receive the packets that answer `entry`. SCTP's can't be looked up. */
INLINE int socket_receives_replies(packet_context *ctx, struct packet_scratch *scratch,
                                   const struct flow *entry, __u8 protocol)
{
    if (protocol == IPPROTO_SCTP)
        return 0;
    struct bpf_sock_tuple *tuple = &scratch->tuple;
#if FAMILY == 4
    const __u32 length = sizeof(tuple->ipv4);
    tuple->ipv4.saddr = entry->daddr;
    tuple->ipv4.daddr = entry->saddr;
    tuple->ipv4.sport = entry->dport;
    tuple->ipv4.dport = entry->sport;
#else
    const __u32 length = sizeof(tuple->ipv6);
    __builtin_memcpy(tuple->ipv6.saddr, &entry->daddr, sizeof(entry->daddr));
    __builtin_memcpy(tuple->ipv6.daddr, &entry->saddr, sizeof(entry->saddr));
    tuple->ipv6.sport = entry->dport;
    tuple->ipv6.dport = entry->sport;
#endif
    struct bpf_sock *socket = protocol == IPPROTO_TCP
                                  ? bpf_sk_lookup_tcp(ctx, tuple, length, BPF_F_CURRENT_NETNS, 0)
                                  : bpf_sk_lookup_udp(ctx, tuple, length, BPF_F_CURRENT_NETNS, 0);
    if (!socket)
        return 0;
    bpf_sk_release(socket);
    return 1;
}

INLINE __be16 random_source_port(void)
{
    __u32 chosen = (__u64)bpf_get_prandom_u32() * UNPRIVILEGED_PORTS >> 32;
    return NET16((__u16)(FIRST_UNPRIVILEGED_PORT + chosen));
}

/* Completes scratch->forward, begun by decide_new_connection(), and makes the entry that mirrors it. */
INLINE void connection_init(struct packet_scratch *scratch, const struct flow_key *key, __u64 now)
{
    struct flow *forward = &scratch->forward, *reply = &scratch->reply;
    flow_set_mirror(reply, key);
    reply->backend = forward->backend;
    reply->service = forward->service;
    reply->flags = FLOW_REPLY | (forward->flags & FLOW_DIRECT);
    if (LOOKUP(locals, &key->saddr))
        reply->flags |= FLOW_TO_STACK;
    reply->mtu = forward->mtu = 0;
    reply->last_seen = forward->last_seen = now;
    reply->ifindex = forward->ifindex = 0;
    __builtin_memset(reply->macs, 0, sizeof(reply->macs));
    __builtin_memset(forward->macs, 0, sizeof(forward->macs));
    forward->sport = key->sport;
}

/* What reply_entry_create() returns. */
#define REPLY_TAKEN 0    /* another connection has the key */
#define REPLY_CREATED 1
#define REPLY_REPLACED 2 /* a stale entry had the key */
#define REPLY_AGAIN 3    /* this connection's first packet has come again, before any answer */

/* Writes scratch->reply, if no other connection has its key: a stale entry is replaced, and so is what is
 * left of this very connection. */
INLINE int reply_entry_create(struct packet_scratch *scratch, const struct flow_key *key, __u64 now)
{
    flow_reverse_key(&scratch->reverse, &scratch->forward, key->protocol);
    struct flow *old = LOOKUP(flows, &scratch->reverse);
    if (!old && !UPDATE(brief, &scratch->reverse, &scratch->reply, BPF_NOEXIST))
        return REPLY_CREATED;
    old = old ? old : LOOKUP(brief, &scratch->reverse);
    int result = REPLY_REPLACED;
    if (old) {
        int same = flow_mirrors(old, key);
        struct flow_key old_reverse;
        if (!same && !connection_is_stale(&old_reverse, &scratch->reverse, old, now))
            return REPLY_TAKEN;
        if (same && old->flags & FLOW_OPENING)
            result = REPLY_AGAIN;
    }
    scratch->reply.flags &= ~FLOW_OPENING;
    DELETE(flows, &scratch->reverse);
    return UPDATE(brief, &scratch->reverse, &scratch->reply, BPF_ANY) ? REPLY_TAKEN : result;
}

/* Changes the source port of scratch->forward until no other connection, and no socket of the node, has its
 * replies, and writes scratch->reply. Returns REPLY_*; REPLY_TAKEN if no port was free. */
INLINE int source_port_claim(packet_context *ctx, struct packet_scratch *scratch, const struct flow_key *key,
                             __u64 now)
{
    struct flow *forward = &scratch->forward;
    int direct = forward->flags & FLOW_DIRECT;
    int masqueraded = !address_equal(forward->saddr, key->saddr);
    int source_is_node = masqueraded || (direct && LOOKUP(locals, &key->saddr));
    int change = direct; /* another connection has the replies to the port that the client chose */
    for (int i = 0; i < PORT_TRIES; i++) {
        if (change) {
            forward->sport = random_source_port();
            scratch->reply.flags &= ~FLOW_OPENING;
        }
        change = 1;
        if (source_is_node && socket_receives_replies(ctx, scratch, forward, key->protocol))
            continue;
        int result = reply_entry_create(scratch, key, now);
        if (result != REPLY_TAKEN)
            return result;
    }
    return REPLY_TAKEN;
}

/* True if the forward entry may wait for the backend's answer, which makes it: if the first packet comes again,
 * it gets the same backend and source port. Not for UDP, which may go on without an answer. */
INLINE int connection_may_open_later(const struct flow *forward, __u8 protocol)
{
    struct config *config = config_lookup();
    return protocol == IPPROTO_TCP && !(forward->flags & FLOW_DIRECT) && config &&
           !(config->flags & CONFIG_RANDOM);
}

/* Writes the entries of a connection whose first packet is `key`, after connection_init().
 * Returns the forward entry, which may not be in a map yet; NULL if no source port was free. */
INLINE struct flow *connection_create(packet_context *ctx, struct packet_scratch *scratch,
                                      const struct flow_key *key, __u64 now)
{
    struct flow *forward = &scratch->forward;
    if (connection_may_open_later(forward, key->protocol))
        scratch->reply.flags |= FLOW_OPENING;
    int claimed = source_port_claim(ctx, scratch, key, now);
    if (claimed == REPLY_TAKEN)
        return NULL;
    if (!(forward->flags & FLOW_DIRECT) && claimed != REPLY_AGAIN)
        count_connection(forward->backend);
    struct filter *filter = filter_lookup();
    if (filter) {
        filter_add(filter, key->daddr, key->dport, SIDE_SERVICE);
        filter_add(filter, forward->daddr, forward->dport, SIDE_BACKEND);
    }
    if (scratch->reply.flags & FLOW_OPENING)
        return forward;
    return UPDATE(brief, key, forward, BPF_ANY) ? NULL : LOOKUP(brief, key);
}
