/* A packet whose flow is known: rewritten, and sent on its way. Included for each family. */

/* Asks for the way of a packet from `source`, as it came, to `destination`, as it will be: netfilter changes the one before and the other
 * after routing. The answer is in work->fib; BPF_FIB_LKUP_RET_*. */
INLINE int V(route)(HERE *here, struct V(work) *work, V(address) source, V(address) destination, __u16 length, int hook)
{
    struct bpf_fib_lookup *fib = &work->fib;
    __builtin_memset(fib, 0, sizeof(*fib));
    fib->family = FAMILY == 4 ? 2 : 10; /* AF_INET, AF_INET6 */
    fib->ifindex = hook == LEAVING ? LOOPBACK : interface_index(here);
#ifndef TC
    fib->tot_len = length; /* in tc the kernel compares the buffer's, cut into segments */
#endif
#if FAMILY == 4
    fib->ipv4_src = source;
    fib->ipv4_dst = destination;
#else
    __builtin_memcpy(fib->ipv6_src, &source, sizeof(source));
    __builtin_memcpy(fib->ipv6_dst, &destination, sizeof(destination));
#endif
    return bpf_fib_lookup(here, fib, sizeof(*fib), 0);
}

/* Writes what the flow makes of the packet. `macs`: or NULL. `hop`: one is taken from its time to live. 0, or nothing was written. */
INLINE int V(rewrite)(HERE *here, const struct V(packet) *packet, const struct V(flow) *flow, const __u8 *macs, int hop)
{
    struct V(header) *ip = DATA(here) + HEADER;
    struct udp *l4 = (void *)ip + IP_LENGTH;
    if ((void *)(l4 + 1) > DATA_END(here))
        return -1;
    __u8 protocol = packet->key.protocol;
    __u64 addresses = V(replaced)(packet->key.saddr, flow->saddr) + V(replaced)(packet->key.daddr, flow->daddr);
    __u64 ports = replaced(*(__u32 *)&packet->key.sport, *(__u32 *)&flow->sport);
#ifndef TC
    __sum16 *check = (void *)l4 + (protocol == PROTOCOL_TCP ? 16 : 6);
    if ((void *)(check + 1) > DATA_END(here))
        return -1;
    if (protocol == PROTOCOL_TCP || *check) { /* a datagram may have none */
        __sum16 now = adjusted(*check, addresses + ports);
        *check = protocol == PROTOCOL_UDP && !now ? 0xffff : now;
    }
#endif
#if MAC_LENGTH
    if (macs)
        __builtin_memcpy((void *)ip - HEADER, macs, 12);
#endif
#if FAMILY == 4
    __u64 header = addresses;
    if (hop) {
        __u16 *word = (__u16 *)&ip->ttl, old = *word;
        ip->ttl -= 1;
        header += replaced16(old, *word);
    }
    ip->check = adjusted(ip->check, header);
#else
    if (hop)
        ip->ttl -= 1;
#endif
    ip->source = flow->saddr;
    ip->destination = flow->daddr;
    l4->source = flow->sport;
    l4->destination = flow->dport;
#ifdef TC
    /* The kernel's helpers know whether the checksum is still to be computed (CHECKSUM_PARTIAL: the field holds the sum of addresses). */
    __u32 field = HEADER + IP_LENGTH + CHECK_OFFSET(protocol);
    __u64 mode = protocol == PROTOCOL_UDP ? BPF_F_MARK_MANGLED_0 : 0;
#if FAMILY == 4
    bpf_l4_csum_replace(here, field, 0, fold32(addresses), BPF_F_PSEUDO_HDR | mode);
#else
    if (bpf_l4_csum_replace(here, field, 0, fold32(addresses), BPF_F_PSEUDO_HDR | mode | 1 << 7)) /* BPF_F_IPV6, Linux 6.16 */
        bpf_l4_csum_replace(here, field, 0, fold32(addresses), BPF_F_PSEUDO_HDR | mode);
#endif
    if (ports != 0xffffffff)
        bpf_l4_csum_replace(here, field, 0, fold32(ports), mode);
#endif
    return 0;
}

#ifdef TC
/* To a socket of this node, by lo: the source may be an address of ours, or a Service's. */
INLINE int V(home)(HERE *here)
{
#if MAC_LENGTH
    void *macs = DATA(here);
    if (macs + 12 > DATA_END(here))
        return DROP;
    __builtin_memset(macs, 0, 12);
    return bpf_redirect(LOOPBACK, BPF_F_INGRESS);
#else
    return PASS;
#endif
}

/* Along the way in work->fib. The kernel finds the neighbour and keeps it fresh. */
INLINE int V(leave)(struct V(work) *work, int hook)
{
    struct bpf_fib_lookup *fib = &work->fib;
    __u32 out = fib->ifindex;
    struct interface *interface = LOOKUP(interfaces, &out);
    if (MAC_LENGTH && hook == COMING && interface && interface->flags & INTERFACE_PEER)
        return bpf_redirect_peer(out, 0);
    work->hop.nh_family = fib->family;
    __builtin_memcpy(work->hop.ipv6_nh, fib->ipv6_dst, 16);
    return redirect_neigh(out, &work->hop, sizeof(work->hop), 0);
}
#endif

/* Nobody but us can send a packet whose source is an address of ours: up the stack it would be a martian. */
INLINE int V(masqueraded)(const struct V(packet) *packet, const struct V(flow) *flow)
{
    return !V(same)(packet->key.saddr, flow->saddr) && !(flow->flags & FLOW_REPLY);
}

/* A packet and its flow's entry: what becomes of it. */
INLINE int V(send)(HERE *here, struct V(work) *work, struct V(packet) *packet, struct V(flow) *flow, int hook)
{
    __u16 flags = flow->flags;
#ifdef TC
    /* It goes where it is going already; or to the node itself: up. */
    int there = hook == LEAVING && V(same)(packet->key.daddr, flow->daddr);
    if (there || flags & FLOW_TO_STACK) {
        V(count)(flow, packet->length);
        if (V(rewrite)(here, packet, flow, NULL, 0) || there)
            return PASS;
        if (hook == LEAVING)
            return here->ifindex == LOOPBACK ? PASS : V(home)(here);
        return (flags & (FLOW_REPLY | FLOW_DIRECT)) == FLOW_REPLY ? V(home)(here) : PASS;
    }
#else
    if (flags & FLOW_TO_STACK)
        return PASS;
#endif
    if (hook == COMING && packet->ttl <= 1)
        return PASS; /* the stack answers: time exceeded */

    __u32 out = flow->out;
    int fresh = !out;
    if (UNLIKELY(fresh)) {
        int found = V(route)(here, work, packet->key.saddr, flow->daddr, packet->length, hook);
#ifdef TC
        if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
            return V(too_big)(here, packet, flow, work->fib.mtu_result, hook);
        if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH) {
            if (!V(masqueraded)(packet, flow)) { /* the stack may know a way (a tunnel), or says that there is none */
                V(count)(flow, packet->length);
                V(rewrite)(here, packet, flow, NULL, 0);
                return PASS;
            }
            count_reason(REASON_NO_ROUTE_DROPPED);
            return DROP;
        }
#else
        if (found != BPF_FIB_LKUP_RET_SUCCESS)
            return PASS;
#endif
        out = work->fib.ifindex;
        struct interface *interface = LOOKUP(interfaces, &out);
        __u8 kind = interface ? interface->flags : 0;
        flags = (flags & ~(FLOW_PEER | FLOW_XDP)) | (kind & INTERFACE_PEER ? FLOW_PEER : 0) | (kind & INTERFACE_XDP ? FLOW_XDP : 0);
        if (found == BPF_FIB_LKUP_RET_SUCCESS) {
            flow->mtu = work->fib.mtu_result;
            __builtin_memcpy(flow->macs, work->fib.dmac, 6);
            __builtin_memcpy(flow->macs + 6, work->fib.smac, 6);
            flow->flags = flags;
            flow->out = out;
        }
    }
#ifdef TC
    if (UNLIKELY(!fresh && flow->mtu && packet->length > flow->mtu && !here->gso_size))
        return V(too_big)(here, packet, flow, flow->mtu, hook);
    V(count)(flow, packet->length);
    if (V(rewrite)(here, packet, flow, flow->out && !(fresh && !(flags & FLOW_PEER)) ? flow->macs : NULL, hook == COMING))
        return PASS;
    if (MAC_LENGTH && flags & FLOW_PEER && hook == COMING)
        return bpf_redirect_peer(out, 0);
    if (MAC_LENGTH && !fresh)
        return bpf_redirect(out, 0);
    if (fresh)
        return V(leave)(work, hook);
    return redirect_neigh(out, NULL, 0, 0);
#else
    if (flow->mtu && packet->length > flow->mtu)
        return PASS;
    if (out != here->ingress_ifindex && !(flags & FLOW_XDP))
        return PASS;
    V(count)(flow, packet->length);
    if (V(rewrite)(here, packet, flow, flow->macs, 1))
        return PASS;
    return out == here->ingress_ifindex ? XDP_TX : bpf_redirect(out, 0);
#endif
}
