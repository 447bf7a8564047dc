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

/* Out of an interface, where the kernel finds the neighbour and keeps it fresh. `hop`: the next, or NULL, then it asks the routes again. */
INLINE int V(to_neighbour)(HERE *here, __u32 out, struct bpf_redir_neigh *hop)
{
#if !MAC_LENGTH
    if (bpf_skb_change_head(here, sizeof(struct ethernet), 0)) /* what is redirected so has to begin with a link layer's header */
        return DROP;
#endif
    return redirect_neigh(out, hop, hop ? sizeof(*hop) : 0, 0);
}

/* Along the way in work->fib. */
INLINE int V(leave)(HERE *here, struct V(work) *work)
{
    struct bpf_fib_lookup *fib = &work->fib;
    work->hop.nh_family = fib->family;
    __builtin_memcpy(work->hop.ipv6_nh, fib->ipv6_dst, 16);
    return V(to_neighbour)(here, fib->ifindex, &work->hop);
}
#endif

/* Nobody but us can send a packet whose source is an address of ours: up the stack it would be a martian. */
INLINE int V(masqueraded)(const struct V(packet) *packet, const struct V(flow) *flow)
{
    return !V(same)(packet->key.saddr, flow->saddr) && !(flow->flags & FLOW_REPLY);
}

/* Asks for the way and keeps it in the entry, if the next hop is known. BPF_FIB_LKUP_RET_*; *flags are the entry's from now on. */
INLINE int V(find_way)(HERE *here, struct V(work) *work, const struct V(packet) *packet, struct V(flow) *flow, __u16 *flags, int hook)
{
    int found = V(route)(here, work, packet->key.saddr, flow->daddr, packet->length, hook);
    __u32 out = work->fib.ifindex;
    struct interface *interface = LOOKUP(interfaces, &out);
    __u8 kind = interface ? interface->flags : 0;
    *flags &= ~(FLOW_PEER | FLOW_XDP);
    *flags |= (kind & INTERFACE_PEER ? FLOW_PEER : 0) | (kind & INTERFACE_XDP ? FLOW_XDP : 0);
    if (found == BPF_FIB_LKUP_RET_SUCCESS) {
        __builtin_memcpy(flow->macs, work->fib.dmac, 6);
        __builtin_memcpy(flow->macs + 6, work->fib.smac, 6);
        flow->mtu = work->fib.mtu_result;
        flow->flags = *flags;
        flow->out = out;
    }
    return found;
}

#ifdef TC
/* How a packet leaves. */
#define WAY_UP 0    /* goes on where it is */
#define WAY_HOME 1  /* to the node's own socket, by lo */
#define WAY_PEER 2  /* into a pod */
#define WAY_OUT 3   /* by an interface, next hop known */
#define WAY_FRESH 4 /* by an interface, the kernel finds the next hop */

/* A packet and its flow's entry: what becomes of it. TOO_BIG: nothing yet, since the way, whose limit is in work->fib, doesn't take it. */
INLINE int V(send)(HERE *here, struct V(work) *work, struct V(packet) *packet, struct V(flow) *flow, int hook)
{
    __u16 flags = flow->flags;
    __u32 out = flow->out;
    int way = WAY_OUT, hop = 0;
    if (hook == LEAVING && V(same)(packet->key.daddr, flow->daddr)) {
        way = WAY_UP; /* it goes there already */
    } else if (flags & FLOW_TO_STACK) {
        if (hook == LEAVING)
            way = here->ifindex == LOOPBACK ? WAY_UP : WAY_HOME;
        else
            way = (flags & (FLOW_REPLY | FLOW_DIRECT)) == FLOW_REPLY ? WAY_HOME : WAY_UP;
    } else {
        if (hook == COMING && packet->ttl <= 1)
            return PASS; /* the stack answers: time exceeded */
        int big = 0;
        if (UNLIKELY(!out)) {
            int found = V(find_way)(here, work, packet, flow, &flags, hook);
            out = work->fib.ifindex;
            way = WAY_FRESH;
            if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
                big = 1;
            } else if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH) {
                if (V(masqueraded)(packet, flow)) {
                    count_reason(REASON_NO_ROUTE_DROPPED);
                    return DROP;
                }
                way = WAY_UP; /* the stack may know a way (a tunnel), or says that there is none */
            }
        } else if (UNLIKELY(packet->length > flow->mtu && flow->mtu && !here->gso_size)) {
            work->fib.mtu_result = flow->mtu;
            big = 1;
        }
        if (UNLIKELY(big)) {
            if (packet->whole)
                return TOO_BIG;
            way = WAY_UP; /* to be cut */
        }
        if (MAC_LENGTH && flags & FLOW_PEER && hook == COMING && way != WAY_UP && flow->out)
            way = WAY_PEER; /* with the addresses of its link: beyond may be a bridge */
        hop = hook == COMING && way != WAY_UP;
    }
    V(count)(flow, packet->length);
    if (V(rewrite)(here, packet, flow, way == WAY_PEER || (way == WAY_OUT && flow->out) ? flow->macs : NULL, hop))
        return PASS;
    switch (way) {
    case WAY_PEER:
        return bpf_redirect_peer(out, 0);
    case WAY_OUT:
        return MAC_LENGTH ? bpf_redirect(out, 0) : V(to_neighbour)(here, out, NULL);
    case WAY_FRESH:
        return V(leave)(here, work);
    case WAY_HOME:
        return V(home)(here);
    }
    return PASS;
}
#else
/* A packet and its flow's entry: sent, or left to tc as it is. */
INLINE int V(send)(HERE *here, struct V(work) *work, struct V(packet) *packet, struct V(flow) *flow, int hook)
{
    __u16 flags = flow->flags;
    if (flags & FLOW_TO_STACK || packet->ttl <= 1)
        return PASS;
    if (UNLIKELY(!flow->out) && V(find_way)(here, work, packet, flow, &flags, hook) != BPF_FIB_LKUP_RET_SUCCESS)
        return PASS;
    __u32 out = flow->out;
    if ((out != here->ingress_ifindex && !(flags & FLOW_XDP)) || (flow->mtu && packet->length > flow->mtu))
        return PASS;
    V(count)(flow, packet->length);
    if (V(rewrite)(here, packet, flow, flow->macs, 1))
        return PASS;
    return out == here->ingress_ifindex ? XDP_TX : bpf_redirect(out, 0);
}
#endif
