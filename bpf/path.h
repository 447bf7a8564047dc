/* The path of a packet through a program, from arrival to result. Included for each family. */

/* What becomes of the first packet of a connection. */
#define DECISION_PASS 0
#define DECISION_DROP 1
#define DECISION_REJECT 2
#define DECISION_TRANSLATE 3 /* scratch->forward has the addresses, port, backend, service and flags */

/* What packet_concern() returns. */
#define CONCERN_NONE 0   /* no Service has anything to do with the packet: no flow, and no first packet for us */
#define CONCERN_DIRECT 1 /* at most decide_direct() has */
#define CONCERN_ALL 2

/* SYN on an existing entry: reuse it unless the old connection has closed or its backend has changed. */
INLINE int connection_is_reusable(struct packet_scratch *scratch, const struct flow_key *key,
                                  const struct flow *entry)
{
    if (entry->flags & FLOW_CLOSING)
        return 0;
    if (entry->flags & (FLOW_REPLY | FLOW_DIRECT))
        return 1;
    struct frontend *frontend = frontend_lookup(scratch, key);
    struct backend *backend = backend_lookup(entry->backend);
    return frontend && backend && frontend->service == entry->service && backend->service == entry->service &&
           backend->flags & (BACKEND_CLUSTER | BACKEND_LOCAL) && backend->port == entry->dport &&
           address_equal(*(ip_address *)&backend->address, entry->daddr);
}

/* The entry of `packet`'s connection, brought up to date: `entry`, or where that has moved. NULL if it is no
 * longer the packet's: then it is to be deleted. */
INLINE struct flow *connection_continue(struct packet_scratch *scratch, const struct packet_info *packet,
                                struct flow *entry, __u64 now)
{
    int refresh = (__s64)(now - entry->last_seen) > (__s64)NSEC_PER_SEC;
    if (UNLIKELY(refresh) && !connection_refresh(scratch, &packet->key, entry, now))
        return NULL;
    if (LIKELY(!(packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))))
        return entry;
    if ((packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
        return connection_is_reusable(scratch, &packet->key, entry) ? entry : NULL;
    if (packet->tcp_flags & (TCP_FIN | TCP_RST))
        return connection_note_close(scratch, &packet->key, entry, packet->tcp_flags);
    return entry;
}

/* True if `packet`, of `entry` in the map of brief connections, shows that this one is established: TCP or SCTP, the
 * client goes on after the backend's answer; UDP, the backend answers. `lasts`: or it has gone on for a second. */
INLINE int connection_is_established(struct packet_scratch *scratch, const struct packet_info *packet,
                                     struct flow *entry, int lasts)
{
    if (entry->flags & FLOW_CLOSING || packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) {
        entry->flags |= entry->flags & FLOW_REPLY ? FLOW_SEEN : 0;
        return 0;
    }
    if (lasts || (packet->key.protocol == IPPROTO_UDP && entry->flags & FLOW_REPLY))
        return 1;
    flow_reverse_key(&scratch->reverse, entry, packet->key.protocol);
    struct flow *reply = LOOKUP(brief, &scratch->reverse);
    return PROTOCOL_IS_STREAM(packet->key.protocol) && reply && reply->flags & FLOW_SEEN;
}

/* The entry of the packet's connection, or NULL. */
INLINE struct flow *connection_lookup(struct packet_scratch *scratch, const struct packet_info *packet,
                                      __u64 now)
{
    const struct flow_key *key = &packet->key;
    struct flow *entry = LOOKUP(flows, key), *found = NULL;
    int is_brief = !entry; /* not established yet, or closed */
    if (UNLIKELY(is_brief))
        entry = LOOKUP(brief, key);
    if (!entry)
        return NULL;
    int lasts = is_brief && (__s64)(now - entry->last_seen) > (__s64)NSEC_PER_SEC;
    if (LIKELY(!(entry->flags & FLOW_OPENING)) || connection_open(scratch, key, entry, now))
        found = connection_continue(scratch, packet, entry, now);
    if (UNLIKELY(is_brief && found) && connection_is_established(scratch, packet, found, lasts)) {
        flow_reverse_key(&scratch->reverse, found, key->protocol);
        return connection_move(key, &scratch->reverse, 1);
    }
    if (LIKELY(found))
        return found;
    flow_reverse_key(&scratch->reverse, entry, key->protocol);
    connection_delete(key, &scratch->reverse);
    return NULL;
}

/* A direct connection to a backend: if a translated connection has the same addresses and ports, another
 * source port keeps their replies apart. */
INLINE int decide_direct(struct packet_scratch *scratch, const struct flow_key *key, __u64 now)
{
    if (key->protocol == ICMP_PROTOCOL)
        return DECISION_PASS;
    struct flow *forward = &scratch->forward;
    forward->saddr = key->saddr;
    forward->daddr = key->daddr;
    forward->sport = key->sport;
    forward->dport = key->dport;
    flow_reverse_key(&scratch->reverse, forward, key->protocol);
    struct flow *reply = flow_find(&scratch->reverse);
    if (!reply || !(reply->flags & FLOW_REPLY))
        return DECISION_PASS;
#ifdef TC
    struct flow_key translated;
    if (!connection_is_stale(&translated, &scratch->reverse, reply, now)) {
        forward->backend = reply->backend;
        forward->service = reply->service;
        forward->flags = FLOW_DIRECT | (LOOKUP(locals, &key->daddr) ? FLOW_TO_STACK : 0);
        return DECISION_TRANSLATE;
    }
    connection_delete(&scratch->reverse, &translated);
#endif
    return DECISION_PASS;
}

/* No Service has the packet's destination and port. In tc, a port that no Service has at a Service's address
 * may be refused, and so are addresses that no Service has. */
INLINE int decide_without_frontend(packet_context *ctx, struct packet_scratch *scratch,
                                   const struct flow_key *key, int concern, __u64 now, int hook,
                                   __u32 *reason)
{
#ifdef TC
    struct frontend *address = NULL;
    if (concern == CONCERN_ALL)
        address = frontend_lookup_exact(scratch, key->daddr, 0, 0);
    if (address) {
        __u8 verdict = frontend_disposition(address, key->saddr, ctx->ifindex, hook) & VERDICT_MASK;
        *reason = verdict == VERDICT_REJECT ? REASON_UNKNOWN_PORT_REJECTED : REASON_POLICY_DROPPED;
        if (verdict == VERDICT_REJECT)
            return DECISION_REJECT;
        if (verdict == VERDICT_DROP)
            return DECISION_DROP;
    } else if (concern == CONCERN_ALL && address_in_service_cidrs(key->daddr) && !LOOKUP(locals, &key->daddr)) {
        *reason = REASON_UNALLOCATED_DROPPED;
        return DECISION_DROP;
    }
#endif
    return decide_direct(scratch, key, now);
}

/* Sets scratch->forward.saddr to the masquerade address of the route to the backend. False if it has none. */
INLINE int masquerade(packet_context *ctx, struct packet_scratch *scratch, const struct flow_key *key,
                      __u64 now, int hook)
{
    ip_address destination = scratch->forward.daddr;
    struct cached_hop *known = next_hop_recall(ctx, key->saddr, destination, now, hook);
    int found = BPF_FIB_LKUP_RET_SUCCESS;
    if (!known)
        found = route_lookup(ctx, scratch, key->saddr, destination, LENGTH_THAT_FITS, hook);
    struct interface *interface = interface_lookup(known ? known->ifindex : scratch->fib.ifindex);
    if (!route_exists(found) || !interface || address_is_unspecified(interface->masquerade_address))
        return 0;
    scratch->forward.saddr = interface->masquerade_address;
    return 1;
}

/* The packet gets `backend`, whose index is scratch->forward.backend. */
INLINE int decide_translation(packet_context *ctx, struct packet_scratch *scratch,
                              const struct flow_key *key, const struct backend *backend, __u8 disposition,
                              __u64 now, int hook, __u32 *reason)
{
    struct flow *forward = &scratch->forward;
    forward->saddr = key->saddr;
    forward->daddr = *(ip_address *)&backend->address;
    forward->dport = backend->port;
    forward->flags = 0;
    if (LOOKUP(locals, &forward->daddr)) {
        /* A process of this node serves. What isn't forwarded isn't masqueraded. */
        forward->flags = FLOW_TO_STACK;
        return DECISION_TRANSLATE;
    }
    int hairpin = backend->flags & BACKEND_HAIRPIN && address_equal(key->saddr, forward->daddr);
    if ((disposition & MASQUERADE || hairpin) && !masquerade(ctx, scratch, key, now, hook)) {
        *reason = REASON_NO_ROUTE_DROPPED;
        return DECISION_DROP;
    }
    return DECISION_TRANSLATE;
}

/* DECISION_* on the first packet of a connection. *reason becomes why it is dropped or rejected. */
INLINE int decide_new_connection(packet_context *ctx, struct packet_scratch *scratch,
                                 const struct flow_key *key, int concern, __u64 now, int hook,
                                 __u32 *reason)
{
    if (address_is_martian(key->saddr))
        return DECISION_PASS;
    struct frontend *frontend = NULL;
    if (key->dport && concern == CONCERN_ALL)
        frontend = frontend_lookup(scratch, key);
    if (!frontend)
        return decide_without_frontend(ctx, scratch, key, concern, now, hook, reason);
    __u8 disposition = frontend_disposition(frontend, key->saddr, packet_ifindex(ctx), hook);
    *reason = REASON_SOURCE_RANGE_DROPPED;
    if (frontend->flags & FRONTEND_RANGES && !source_in_ranges(scratch, frontend->service, key->saddr))
        return DECISION_DROP;
    *reason = REASON_NO_ENDPOINT_REJECTED;
    switch (disposition & VERDICT_MASK) {
    case VERDICT_PASS:
        return DECISION_PASS;
    case VERDICT_DROP:
        *reason = REASON_POLICY_DROPPED;
        return DECISION_DROP;
    case VERDICT_REJECT:
        return DECISION_REJECT;
    }
    __u32 *index = &scratch->forward.backend;
    struct backend *backend = backend_select(scratch, frontend, key, disposition, now, index);
    if (!backend)
        return DECISION_REJECT;
    scratch->forward.service = frontend->service;
    return decide_translation(ctx, scratch, key, backend, disposition, now, hook, reason);
}

/* True for packets of a TCP or SCTP connection that has begun. If it has no entry, it is direct; or it is older than
 * these rules, and those of another mode still translate it; or the entry fell out of the map. */
INLINE int stream_is_established(const struct packet_info *packet)
{
    return PROTOCOL_IS_STREAM(packet->key.protocol) &&
           (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN;
}

/* True if `packet`, of a TCP connection that has begun but has no entry, is for a Service that still gives it the
 * backend it had. */
INLINE int connection_may_be_recovered(struct packet_scratch *scratch, const struct packet_info *packet)
{
    struct config *config = config_lookup();
    return !(packet->tcp_flags & (TCP_SYN | TCP_RST)) && config && !(config->flags & CONFIG_RANDOM) &&
           frontend_lookup(scratch, &packet->key);
}

/* Makes the entry of such a packet again, after connection_init(), and returns it. NULL if what it would become is
 * another connection; or if neither entry is left, and connections may be older than the programs. */
INLINE struct flow *connection_recover(struct packet_scratch *scratch, const struct flow_key *key)
{
    flow_reverse_key(&scratch->reverse, &scratch->forward, key->protocol);
    struct flow *reply = flow_find(&scratch->reverse);
    if (reply) {
        if (!flow_mirrors(reply, key))
            return NULL;
        reply->flags &= ~FLOW_OPENING;
        count_reason(REASON_FLOW_RESTORED);
    } else {
        struct filter *filter = filter_lookup();
        if (!filter || !filter->settled || UPDATE(brief, &scratch->reverse, &scratch->reply, BPF_NOEXIST))
            return NULL;
        filter_add(filter, scratch->forward.daddr, scratch->forward.dport, SIDE_BACKEND);
        count_reason(REASON_FLOW_REMADE);
    }
    return UPDATE(brief, key, &scratch->forward, BPF_ANY) ? NULL : LOOKUP(brief, key);
}

INLINE int packet_concern(const struct packet_info *packet, int hook)
{
    const struct flow_key *key = &packet->key;
    struct filter *filter = filter_lookup();
    if (!filter || !filter->complete || filter_has(filter, key->daddr, key->dport, SIDE_SERVICE) ||
        filter_has(filter, key->saddr, key->sport, SIDE_BACKEND))
        return CONCERN_ALL;
    if (stream_is_established(packet))
        return CONCERN_NONE;
    if (filter_has_frontend(filter, key->daddr, key->dport))
        return CONCERN_ALL;
#ifdef TC
    if (filter_has(filter, key->daddr, 0, SIDE_SERVICE) || address_in_service_cidrs(key->daddr))
        return CONCERN_ALL; /* a port or an address that no Service has */
    if (hook == HOOK_EGRESS && key->protocol == IPPROTO_UDP &&
        filter_has_frontend(filter, key->saddr, key->sport))
        return CONCERN_ALL; /* sources.h */
    if (filter_has(filter, key->daddr, key->dport, SIDE_BACKEND))
        return CONCERN_DIRECT;
#endif
    return CONCERN_NONE;
}

#ifdef TC
/* A packet that the stack forwards is on its way out. Only datagrams from an address of the node concern us:
 * sources.h. */
INLINE void process_forwarded(packet_context *ctx)
{
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    struct udp_header *udp = (void *)ip + IP_HEADER_LENGTH;
    if ((void *)(udp + 1) > DATA_END(ctx) || ip->protocol != IPPROTO_UDP)
        return;
#if FAMILY == 4
    if (ip->version != IPV4_VERSION_IHL || ip->fragment & NET16(IP_OFFMASK))
        return;
#endif
    struct filter *filter = filter_lookup();
    if (filter && filter->complete && !filter_has_frontend(filter, ip->source, udp->source))
        return;
    struct packet_scratch *scratch = (void *)scratch_lookup();
    struct packet_info packet = { .tcp_flags = 0 };
    packet_key_init(&packet.key, ip, udp);
    if (!scratch || !LOOKUP(locals, &packet.key.saddr))
        return;
    __u64 now = bpf_ktime_get_coarse_ns();
    if (!connection_lookup(scratch, &packet, now))
        source_remember(scratch, &packet.key, now);
}

INLINE int process_packet(packet_context *ctx, int hook)
{
    struct packet_info packet;
    int parsed = packet_parse(ctx, &packet);
    struct packet_scratch *scratch = parsed == PARSED_OTHER ? NULL : (void *)scratch_lookup();
    if (!scratch)
        return ACTION_PASS;
    if (UNLIKELY(parsed == PARSED_FRAGMENT))
        parsed = fragment_parse(ctx, scratch, &packet);
    if (UNLIKELY(parsed == PARSED_OTHER || parsed == PARSED_LOST))
        return parsed == PARSED_LOST ? ACTION_DROP : ACTION_PASS;
    if (parsed == PARSED_ICMP_ERROR)
        return icmp_error_translate(ctx, scratch, &packet, hook);

    int concern = packet_concern(&packet, hook);
    if (concern == CONCERN_NONE)
        return ACTION_PASS;

    const struct flow_key *key = &packet.key;
    struct icmp_header error = icmp_port_unreachable();
    __u64 now = bpf_ktime_get_coarse_ns();
    struct flow *entry = NULL;
    if (LIKELY(parsed == PARSED_TUPLE && concern == CONCERN_ALL))
        entry = connection_lookup(scratch, &packet, now);
    if (UNLIKELY(!entry)) {
        int has_begun = stream_is_established(&packet);
        if (has_begun && !connection_may_be_recovered(scratch, &packet))
            return ACTION_PASS;
        __u32 reason = 0;
        /* An echo request has no port, but may be rejected. */
        int decision = decide_new_connection(ctx, scratch, key, concern, now, hook, &reason);
        if (decision == DECISION_TRANSLATE)
            connection_init(scratch, key, now);
        if (has_begun) {
            entry = decision == DECISION_TRANSLATE ? connection_recover(scratch, key) : NULL;
            if (!entry)
                return ACTION_PASS;
        } else if (decision == DECISION_PASS) {
            if (hook == HOOK_EGRESS && key->protocol == IPPROTO_UDP)
                source_remember(scratch, key, now);
            return ACTION_PASS;
        } else if (decision == DECISION_TRANSLATE) {
            entry = connection_create(ctx, scratch, key, now);
            reason = REASON_NO_PORT_DROPPED;
        }
        if (!entry)
            count_reason(reason);
        if (!entry && decision != DECISION_REJECT)
            return ACTION_DROP;
    }
    if (LIKELY(entry)) {
        int action = packet_forward(ctx, scratch, &packet, entry, hook);
        if (LIKELY(action != ACTION_TOO_BIG))
            return action;
        error = icmp_packet_too_big(scratch->fib.mtu_result);
    }
    return icmp_error_send(ctx, key, error, hook);
}
#else
/* What can't be sent from here passes unchanged, and tc decides on it. */
INLINE int process_packet(packet_context *ctx, int hook)
{
    struct packet_info packet;
    int parsed = packet_parse(ctx, &packet);
    struct packet_scratch *scratch = parsed == PARSED_TUPLE ? (void *)scratch_lookup() : NULL;
    if (!scratch)
        return ACTION_PASS;
    if (packet_concern(&packet, hook) == CONCERN_NONE)
        return ACTION_PASS;
    const struct flow_key *key = &packet.key;
    __u64 now = bpf_ktime_get_coarse_ns();
    struct flow *entry = connection_lookup(scratch, &packet, now);
    if (UNLIKELY(!entry)) {
        int has_begun = stream_is_established(&packet);
        if (has_begun && !connection_may_be_recovered(scratch, &packet))
            return ACTION_PASS;
        __u32 reason = 0;
        int decision = decide_new_connection(ctx, scratch, key, CONCERN_ALL, now, hook, &reason);
        if (decision != DECISION_TRANSLATE || scratch->forward.flags & FLOW_TO_STACK)
            return ACTION_PASS;
        connection_init(scratch, key, now);
        entry = has_begun ? connection_recover(scratch, key) : connection_create(ctx, scratch, key, now);
        if (!entry) {
            if (has_begun)
                return ACTION_PASS;
            count_reason(REASON_NO_PORT_DROPPED);
            return ACTION_DROP;
        }
    }
    return packet_forward(ctx, scratch, &packet, entry, hook);
}
#endif
