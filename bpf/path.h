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

/* No Service has this destination. */
INLINE int V(elsewhere)(HERE *here, struct V(work) *work, struct V(packet) *packet, __u64 now, int hook, struct V(flow) **flow)
{
    const struct V_KEY(flow) *key = &packet->key;
#ifdef TC
    struct frontend *address = V(frontend_at)(work, key->daddr, 0, 0);
    if (address) {
        __u8 verdict = V(disposition)(address, key->saddr, here->ifindex, hook) & VERDICT_MASK;
        if (verdict == VERDICT_REJECT) {
            count_reason(REASON_UNKNOWN_PORT_REJECTED);
            return V(reject)(here, packet, hook);
        }
        if (verdict == VERDICT_DROP) {
            count_reason(REASON_POLICY_DROPPED);
            return DROP;
        }
    } else if (V(unallocated)(key->daddr) && !LOOKUP(V(locals), &key->daddr)) {
        count_reason(REASON_UNALLOCATED_DROPPED);
        return DROP;
    }
#endif
    /* A direct connection. Its answers must not be taken for those of a translated one with the same ports. */
    if (key->protocol == PROTOCOL_TCP ? (packet->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN : key->protocol != PROTOCOL_UDP)
        return PASS;
    struct V(flow) *forward = &work->forward;
    forward->saddr = key->saddr;
    forward->daddr = key->daddr;
    forward->sport = key->sport;
    forward->dport = key->dport;
    V(turned)(&work->other, forward, key->protocol);
    struct V(flow) *reply = LOOKUP(V(flows), &work->other);
    if (!reply || !(reply->flags & FLOW_REPLY))
        return PASS;
    struct V_KEY(flow) theirs;
    if (V(dead)(&theirs, &work->other, reply, now)) {
        struct V(flow) *old = LOOKUP(V(flows), &theirs);
        if (old && V(opposite)(old, &work->other))
            DELETE(V(flows), &theirs);
        DELETE(V(flows), &work->other);
        return PASS;
    }
#ifdef TC
    forward->backend = reply->backend;
    forward->service = reply->service;
    forward->flags = FLOW_DIRECT | (LOOKUP(V(locals), &key->daddr) ? FLOW_TO_STACK : 0);
    *flow = V(create)(here, work, key, LOOKUP(V(locals), &key->saddr) != NULL, now);
    if (!*flow) {
        count_reason(REASON_NO_PORT_DROPPED);
        return DROP;
    }
#endif
    return PASS;
}

/* The first packet of a connection. Sets *flow, or returns a verdict. */
INLINE int V(begin)(HERE *here, struct V(work) *work, struct V(packet) *packet, __u64 now, int hook, struct V(flow) **flow)
{
    const struct V_KEY(flow) *key = &packet->key;
    if (packet->flags & TCP_RST)
        return PASS; /* of a connection that we have forgotten */
    struct frontend *frontend = V(frontend)(work, key);
    if (!frontend)
        return V(elsewhere)(here, work, packet, now, hook, flow);
    __u8 disposition = V(disposition)(frontend, key->saddr, interface_index(here), hook), verdict = disposition & VERDICT_MASK;
#ifdef TC
    if (frontend->flags & FRONTEND_RANGES && !V(in_ranges)(work, frontend->service, key->saddr)) {
        count_reason(REASON_SOURCE_RANGE_DROPPED);
        return DROP;
    }
    if (verdict == VERDICT_REJECT) {
        count_reason(REASON_NO_ENDPOINT_REJECTED);
        return V(reject)(here, packet, hook);
    }
    if (verdict == VERDICT_DROP) {
        count_reason(REASON_POLICY_DROPPED);
        return DROP;
    }
    if (verdict == VERDICT_PASS)
        return V(elsewhere)(here, work, packet, now, hook, flow);
#else
    if (verdict != VERDICT_DNAT || (frontend->flags & FRONTEND_RANGES && !V(in_ranges)(work, frontend->service, key->saddr)))
        return PASS;
#endif
    __u32 index = 0;
    struct backend *backend = V(choose)(work, frontend, key, disposition, now, &index);
    if (!backend) {
#ifdef TC
        count_reason(REASON_NO_ENDPOINT_REJECTED);
        return V(reject)(here, packet, hook);
#else
        return PASS;
#endif
    }
    struct V(flow) *forward = &work->forward;
    forward->saddr = key->saddr;
    forward->daddr = *(V(address) *)&backend->address;
    forward->dport = backend->port;
    forward->backend = index;
    forward->service = frontend->service;
    forward->flags = 0;
    int ours = 0;
    if (LOOKUP(V(locals), &forward->daddr)) {
        /* A process of this node serves: never masqueraded, since it isn't forwarded. */
#ifndef TC
        return PASS;
#endif
        forward->flags = FLOW_TO_STACK;
    } else if (disposition & MASQUERADE || (backend->flags & BACKEND_HAIRPIN && V(same)(key->saddr, forward->daddr))) {
        int found = V(route)(here, work, key->saddr, forward->daddr, 0, hook);
        __u32 out = work->fib.ifindex;
        struct interface *interface = LOOKUP(interfaces, &out);
        if ((found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH) || !interface || V(none)(interface->V(address))) {
#ifdef TC
            count_reason(REASON_NO_ROUTE_DROPPED);
            return DROP;
#else
            return PASS;
#endif
        }
        forward->saddr = interface->V(address);
        ours = !V(same)(forward->saddr, key->saddr);
    }
    *flow = V(create)(here, work, key, ours, now);
    if (!*flow) {
        count_reason(REASON_NO_PORT_DROPPED);
        return DROP;
    }
    struct counter *counter = LOOKUP(counters, &index);
    if (counter)
        counter->connections += 1;
    return PASS;
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
    if (UNLIKELY(found != FOUND_TUPLE)) {
#ifdef TC
        if (found == FOUND_ERROR)
            return V(translate_error)(here, work, &packet, hook);
        return V(elsewhere)(here, work, &packet, now, hook, &flow); /* echo: Services don't answer, but may refuse */
#else
        return PASS;
#endif
    }
    flow = LOOKUP(V(flows), key);
    if (flow) {
        if (UNLIKELY((__s64)(now - flow->seen) > (__s64)SECOND) && !V(mend)(work, key, flow, now)) {
            V(forget)(work, key, flow);
            flow = NULL;
        } else if (UNLIKELY(packet.flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
            if ((packet.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
                if (!V(still)(work, key, flow)) {
                    V(forget)(work, key, flow);
                    flow = NULL;
                }
            } else if (packet.flags & (TCP_FIN | TCP_RST)) {
                V(closing)(work, key, flow, packet.flags);
            }
        }
    }
    if (!flow) {
        int verdict = V(begin)(here, work, &packet, now, hook, &flow);
        if (!flow)
            return verdict;
    }
    return V(send)(here, work, &packet, flow, hook);
}
