/* What becomes of a packet, from its arrival to the verdict. Included for each family. */

/* A SYN on an entry that exists: whether it may go on with it. Not if the connection that the entry is of is over, nor if its Service
 * has changed its mind since: then it is the first of another connection. */
INLINE int V(still)(struct V(work) *work, const struct V_KEY(flow) *key, const struct V(flow) *flow)
{
    if (flow->flags & FLOW_CLOSING)
        return 0;
    if (flow->flags & (FLOW_REPLY | FLOW_DIRECT))
        return 1;
    struct frontend *frontend = V(frontend)(work, key);
    __u32 index = flow->backend;
    struct backend *backend = LOOKUP(backends, &index);
    return frontend && backend && frontend->service == flow->service && backend->service == flow->service &&
           backend->flags & (BACKEND_CLUSTER | BACKEND_LOCAL) && backend->port == flow->dport &&
           V(same)(*(V(address) *)&backend->address, flow->daddr);
}

/* No Service has this destination, or none that concerns this packet. */
INLINE int V(elsewhere)(HERE *here, struct V(work) *work, struct V(packet) *packet, __u64 now, int hook, __u32 *reason)
{
    const struct V_KEY(flow) *key = &packet->key;
#ifdef TC
    struct frontend *address = V(frontend_at)(work, key->daddr, 0, 0);
    if (address) {
        __u8 verdict = V(disposition)(address, key->saddr, here->ifindex, hook) & VERDICT_MASK;
        *reason = verdict == VERDICT_REJECT ? REASON_UNKNOWN_PORT_REJECTED : REASON_POLICY_DROPPED;
        if (verdict == VERDICT_REJECT || verdict == VERDICT_DROP)
            return verdict == VERDICT_REJECT ? BEGIN_REFUSE : BEGIN_DROP;
    } else if (V(unallocated)(key->daddr) && !LOOKUP(V(locals), &key->daddr)) {
        *reason = REASON_UNALLOCATED_DROPPED;
        return BEGIN_DROP;
    }
#endif
    /* A direct connection. Its answers must not be taken for those of a translated one with the same ports. */
    if (key->protocol == PROTOCOL_ICMP)
        return BEGIN_PASS;
    struct V(flow) *forward = &work->forward;
    forward->saddr = key->saddr;
    forward->daddr = key->daddr;
    forward->sport = key->sport;
    forward->dport = key->dport;
    V(turned)(&work->other, forward, key->protocol);
    struct V(flow) *reply = LOOKUP(V(flows), &work->other);
    if (!reply || !(reply->flags & FLOW_REPLY))
        return BEGIN_PASS;
#ifdef TC
    struct V_KEY(flow) theirs;
    if (!V(dead)(&theirs, &work->other, reply, now)) {
        forward->backend = reply->backend;
        forward->service = reply->service;
        forward->flags = FLOW_DIRECT | (LOOKUP(V(locals), &key->daddr) ? FLOW_TO_STACK : 0);
        return BEGIN_FLOW;
    }
    struct V(flow) *old = LOOKUP(V(flows), &theirs);
    if (old && V(opposite)(old, &work->other))
        DELETE(V(flows), &theirs);
    DELETE(V(flows), &work->other);
#endif
    return BEGIN_PASS;
}

/* The first packet of a connection: BEGIN_*. `reason`: why it is dropped or refused. */
INLINE int V(begin)(HERE *here, struct V(work) *work, struct V(packet) *packet, __u64 now, int hook, __u32 *reason)
{
    const struct V_KEY(flow) *key = &packet->key;
    if (V(odd)(key->saddr))
        return BEGIN_PASS;
    struct frontend *frontend = key->dport ? V(frontend)(work, key) : NULL;
    if (!frontend)
        return V(elsewhere)(here, work, packet, now, hook, reason);
    __u8 disposition = V(disposition)(frontend, key->saddr, interface_index(here), hook), verdict = disposition & VERDICT_MASK;
    *reason = REASON_SOURCE_RANGE_DROPPED;
    if (frontend->flags & FRONTEND_RANGES && !V(in_ranges)(work, frontend->service, key->saddr))
        return BEGIN_DROP;
    *reason = verdict == VERDICT_DROP ? REASON_POLICY_DROPPED : REASON_NO_ENDPOINT_REJECTED;
    if (verdict != VERDICT_DNAT)
        return verdict == VERDICT_PASS ? BEGIN_PASS : verdict == VERDICT_DROP ? BEGIN_DROP : BEGIN_REFUSE;
    struct V(flow) *forward = &work->forward;
    struct backend *backend = V(choose)(work, frontend, key, disposition, now, &forward->backend);
    if (!backend)
        return BEGIN_REFUSE;
    forward->saddr = key->saddr;
    forward->daddr = *(V(address) *)&backend->address;
    forward->dport = backend->port;
    forward->service = frontend->service;
    forward->flags = 0;
    if (LOOKUP(V(locals), &forward->daddr)) {
        /* A process of this node serves: never masqueraded, since it isn't forwarded. */
        forward->flags = FLOW_TO_STACK;
        return BEGIN_FLOW;
    }
    if (disposition & MASQUERADE || (backend->flags & BACKEND_HAIRPIN && V(same)(key->saddr, forward->daddr))) {
        int found = V(route)(here, work, key->saddr, forward->daddr, 0, hook);
        __u32 out = work->fib.ifindex;
        struct interface *interface = LOOKUP(interfaces, &out);
        *reason = REASON_NO_ROUTE_DROPPED;
        if ((found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH) || !interface || V(none)(interface->V(address)))
            return BEGIN_DROP;
        forward->saddr = interface->V(address);
    }
    return BEGIN_FLOW;
}

/* Whether `packet` belongs to the connection that the entry `flow` is of. If not, the entry is dead. */
INLINE int V(goes_on)(struct V(work) *work, const struct V(packet) *packet, struct V(flow) *flow, __u64 now)
{
    if (UNLIKELY((__s64)(now - flow->seen) > (__s64)SECOND) && !V(mend)(work, &packet->key, flow, now))
        return 0;
    if (LIKELY(!(packet->flags & (TCP_SYN | TCP_FIN | TCP_RST))))
        return 1;
    if ((packet->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
        return V(still)(work, &packet->key, flow);
    if (packet->flags & (TCP_FIN | TCP_RST))
        V(closing)(work, &packet->key, flow, packet->flags);
    return 1;
}

INLINE int V(process)(HERE *here, int hook)
{
    struct V(packet) packet;
    int found = V(parse)(here, &packet);
    if (found == FOUND_NONE)
        return PASS;
    struct V(work) *work = (void *)work_space();
    if (!work)
        return PASS;
    const struct V_KEY(flow) *key = &packet.key;
    struct V(flow) *flow = NULL;
    __u64 now = bpf_ktime_get_coarse_ns();
    __u32 reason = 0;
    int outcome;
    if (LIKELY(found == FOUND_TUPLE)) {
        flow = LOOKUP(V(flows), key);
        if (flow && !V(goes_on)(work, &packet, flow, now)) {
            V(forget)(work, key, flow);
            flow = NULL;
        }
    }
#ifdef TC
    else if (found == FOUND_ERROR)
        return V(translate_error)(here, work, &packet, hook);
#else
    else
        return PASS;
#endif
    if (UNLIKELY(!flow)) {
        /* In the middle of a connection that isn't ours: direct, or as old as the rules of another mode, which still translate it. Or an
         * entry fell out of the map: the other direction's packets make it again. */
        if (key->protocol == PROTOCOL_TCP && (packet.flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
            return PASS;
        outcome = V(begin)(here, work, &packet, now, hook, &reason); /* an echo request has no port, but may be refused */
#ifndef TC
        /* What can't be sent from here is met again in tc, and settled there. */
        if (outcome != BEGIN_FLOW || work->forward.flags & FLOW_TO_STACK)
            return PASS;
#endif
        if (outcome == BEGIN_PASS)
            return PASS;
        if (outcome == BEGIN_FLOW) {
            flow = V(create)(here, work, key, now);
            reason = REASON_NO_PORT_DROPPED;
        }
        if (!flow)
            count_reason(reason);
        if (!flow && outcome != BEGIN_REFUSE)
            return DROP;
    }
#ifdef TC
    /* Nobody there: port unreachable, to TCP too, as kube-proxy's REJECT says it. */
    __u8 type = FAMILY == 4 ? 3 : 1, code = FAMILY == 4 ? 3 : 4;
    __u32 mtu = 0;
    if (LIKELY(flow)) {
        outcome = V(send)(here, work, &packet, flow, hook);
        if (LIKELY(outcome != TOO_BIG))
            return outcome;
        type = FAMILY == 4 ? 3 : 2;
        code = FAMILY == 4 ? 4 : 0;
        mtu = work->fib.mtu_result;
    }
    return V(complain)(here, key, type, code, NET32(mtu), hook);
#else
    return V(send)(here, work, &packet, flow, hook);
#endif
}
