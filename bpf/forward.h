/* A packet of a known connection: where it goes, and on its way. Included for each family. */

#define LENGTH_THAT_FITS 1 /* a length for route_lookup(): 0 would have the kernel leave the route's MTU out */

/* Looks up the route of a packet of `length` bytes from `source`, its source on arrival, to `destination`, its
 * destination after translation: netfilter too translates the destination before routing and the source after
 * it. The answer is in scratch->fib. Returns BPF_FIB_LKUP_RET_*. */
INLINE int route_lookup(packet_context *ctx, struct packet_scratch *scratch, ip_address source,
                        ip_address destination, __u16 length, int hook)
{
    struct bpf_fib_lookup *fib = &scratch->fib;
    __builtin_memset(fib, 0, sizeof(*fib));
    fib->ifindex = route_input(ctx, hook);
    fib->tot_len = length;
#if FAMILY == 4
    fib->family = AF_INET;
    fib->ipv4_src = source;
    fib->ipv4_dst = destination;
#else
    fib->family = AF_INET6;
    __builtin_memcpy(fib->ipv6_src, &source, sizeof(source));
    __builtin_memcpy(fib->ipv6_dst, &destination, sizeof(destination));
#endif
    return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/* True if a lookup that returned `found` has found a route; the next hop's MAC address may be unknown yet. */
INLINE int route_exists(int found)
{
    return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* Looks up the route of a packet and, if the MAC address of its next hop is known, caches it in `entry`.
 * *flags becomes the entry's flags. Returns BPF_FIB_LKUP_RET_*; the route is in scratch->fib. */
INLINE int next_hop_lookup(packet_context *ctx, struct packet_scratch *scratch,
                           const struct packet_info *packet, struct flow *entry, __u16 *flags, int hook)
{
    __u16 length = packet->fit;
#ifdef TC
    if (ctx->gso_size)
        length = LENGTH_THAT_FITS; /* the kernel cuts it into segments */
#endif
    int found = route_lookup(ctx, scratch, packet->key.saddr, entry->daddr, length, hook);
    __u32 ifindex = scratch->fib.ifindex;
    struct interface *interface = interface_lookup(ifindex);
    __u8 interface_flags = interface ? interface->flags : 0;
    *flags &= ~(FLOW_PEER | FLOW_XDP);
    *flags |= interface_flags & INTERFACE_PEER ? FLOW_PEER : 0;
    *flags |= interface_flags & INTERFACE_XDP ? FLOW_XDP : 0;
    if (found == BPF_FIB_LKUP_RET_SUCCESS) {
        __builtin_memcpy(entry->macs, scratch->fib.dmac, ETH_ALEN);
        __builtin_memcpy(entry->macs + ETH_ALEN, scratch->fib.smac, ETH_ALEN);
        entry->mtu = scratch->fib.mtu_result;
        entry->flags = *flags;
        entry->ifindex = ifindex;
        next_hop_store(ctx, packet->key.saddr, entry, hook);
    }
    return found;
}

/* Gives `entry` the next hop that an earlier packet has looked up. False if none has. */
INLINE int next_hop_reuse(packet_context *ctx, const struct packet_info *packet, struct flow *entry, int hook)
{
    struct cached_hop *known =
        next_hop_recall(ctx, packet->key.saddr, entry->daddr, bpf_ktime_get_coarse_ns(), hook);
    if (!known)
        return 0;
    __builtin_memcpy(entry->macs, known->macs, sizeof(entry->macs));
    entry->mtu = known->mtu;
    entry->flags = (entry->flags & ~(FLOW_PEER | FLOW_XDP)) | known->flags;
    entry->ifindex = known->ifindex;
    return 1;
}

/* True if translation gives a request another source. Only the programs can send such a packet: its source is
 * an address of the node, so that the stack would drop it as a martian. */
INLINE int is_masqueraded(const struct packet_info *packet, const struct flow *entry)
{
    return !address_equal(packet->key.saddr, entry->saddr) && !(entry->flags & FLOW_REPLY);
}

#ifdef TC
/* How a packet leaves the program. */
#define OUTPUT_UNCHANGED 0       /* to the stack, without translation */
#define OUTPUT_DROP 1
#define OUTPUT_TOO_BIG 2         /* answered with an ICMP error; the MTU is scratch->fib.mtu_result */
#define OUTPUT_STACK 3           /* translated, to the stack */
#define OUTPUT_LOOPBACK 4        /* translated, to a socket of the node, through lo */
#define OUTPUT_PEER 5            /* forwarded into a pod: bpf_redirect_peer() */
#define OUTPUT_CACHED_NEXT_HOP 6 /* forwarded by the route in the entry */
#define OUTPUT_NEW_NEXT_HOP 7    /* forwarded by the route in scratch->fib; the kernel finds the neighbour */

INLINE int output_is_forwarded(int output)
{
    return output == OUTPUT_PEER || output == OUTPUT_CACHED_NEXT_HOP || output == OUTPUT_NEW_NEXT_HOP;
}

/* True if the entry's MAC addresses are to be written. For a pod too: its veth may lead to a bridge. */
INLINE int output_has_macs(int output, const struct flow *entry)
{
    return output == OUTPUT_PEER || (output == OUTPUT_CACHED_NEXT_HOP && entry->ifindex);
}

/* OUTPUT_* of a packet that exceeds the MTU of its route, which is scratch->fib.mtu_result. The stack cuts what
 * may be cut. It takes no packet from outside that seems to come from this node, and one of the node itself is on
 * its way to a wrong interface: these go by lo. */
INLINE int output_too_big(const struct packet_info *packet, const struct flow *entry, int hook)
{
    if (packet->dont_fragment)
        return OUTPUT_TOO_BIG;
    int source_stays = address_equal(packet->key.saddr, entry->saddr);
    return hook == HOOK_INGRESS && source_stays ? OUTPUT_STACK : OUTPUT_LOOPBACK;
}

/* OUTPUT_* of a packet to a pod or to another node. *ifindex becomes the interface that it leaves by. */
INLINE int output_by_route(packet_context *ctx, struct packet_scratch *scratch,
                           const struct packet_info *packet, struct flow *entry, int hook, __u32 *ifindex)
{
    if (hook == HOOK_INGRESS && packet->ttl <= 1)
        return OUTPUT_UNCHANGED; /* the stack answers: time exceeded */
    int known = entry->ifindex || next_hop_reuse(ctx, packet, entry, hook);
    __u16 flags = entry->flags;
    int output = OUTPUT_CACHED_NEXT_HOP;
    *ifindex = entry->ifindex;
    if (UNLIKELY(!known)) {
        int found = next_hop_lookup(ctx, scratch, packet, entry, &flags, hook);
        *ifindex = scratch->fib.ifindex;
        output = OUTPUT_NEW_NEXT_HOP;
        if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
            return output_too_big(packet, entry, hook);
        if (!route_exists(found)) {
            if (is_masqueraded(packet, entry)) {
                count_reason(REASON_NO_ROUTE_DROPPED);
                return OUTPUT_DROP;
            }
            output = OUTPUT_STACK; /* it may have a route that lookups can't return (a tunnel), or answers */
        }
    } else if (UNLIKELY(packet->fit > entry->mtu && entry->mtu && !ctx->gso_size)) {
        scratch->fib.mtu_result = entry->mtu;
        return output_too_big(packet, entry, hook);
    }
    if (MAC_LENGTH && flags & FLOW_PEER && hook == HOOK_INGRESS && output != OUTPUT_STACK && entry->ifindex)
        output = OUTPUT_PEER;
    return output;
}

/* OUTPUT_* of a packet. */
INLINE int output_select(packet_context *ctx, struct packet_scratch *scratch,
                         const struct packet_info *packet, struct flow *entry, int hook, __u32 *ifindex)
{
    if (hook == HOOK_EGRESS && address_equal(packet->key.daddr, entry->daddr))
        return OUTPUT_STACK; /* it is on its way there already */
    if (!(entry->flags & FLOW_TO_STACK))
        return output_by_route(ctx, scratch, packet, entry, hook, ifindex);
    if (hook == HOOK_EGRESS)
        return ctx->ifindex == LOOPBACK_IFINDEX ? OUTPUT_STACK : OUTPUT_LOOPBACK;
    return (entry->flags & (FLOW_REPLY | FLOW_DIRECT)) == FLOW_REPLY ? OUTPUT_LOOPBACK : OUTPUT_STACK;
}

/* Translates and sends a packet of the connection of `entry`. Returns the program's result, or
 * ACTION_TOO_BIG: then the packet is unchanged, and the MTU is in scratch->fib.mtu_result. */
INLINE int packet_forward(packet_context *ctx, struct packet_scratch *scratch, struct packet_info *packet,
                          struct flow *entry, int hook)
{
    __u32 ifindex = 0;
    int output = output_select(ctx, scratch, packet, entry, hook, &ifindex);
    if (output == OUTPUT_UNCHANGED)
        return ACTION_PASS;
    if (output == OUTPUT_DROP)
        return ACTION_DROP;
    if (output == OUTPUT_TOO_BIG)
        return ACTION_TOO_BIG;

    connection_count_packet(entry, packet->length);
    int forwards = hook == HOOK_INGRESS && output_is_forwarded(output);
    const __u8 *macs = output_has_macs(output, entry) ? entry->macs : NULL;
    if (UNLIKELY(packet->fragment)) {
        if (packet->fragment == FRAGMENT_FIRST)
            fragment_store(scratch, packet, entry->flags & FLOW_TO_STACK || output_is_forwarded(output));
        if (!fragment_translate(ctx, packet, entry, macs, forwards))
            return ACTION_PASS;
    } else if (!packet_translate(ctx, packet, entry, macs, forwards)) {
        return ACTION_PASS;
    }

    switch (output) {
    case OUTPUT_PEER:
        return bpf_redirect_peer(ifindex, 0);
    case OUTPUT_CACHED_NEXT_HOP:
        return MAC_LENGTH ? bpf_redirect(ifindex, 0) : redirect_to_neighbor(ctx, ifindex, NULL);
    case OUTPUT_NEW_NEXT_HOP:
        return redirect_to_next_hop(ctx, &scratch->fib, &scratch->next_hop);
    case OUTPUT_LOOPBACK:
        return redirect_to_loopback(ctx);
    }
    return ACTION_PASS;
}
#else
/* Translates and sends a packet of the connection of `entry`, or leaves it to tc unchanged. */
INLINE int packet_forward(packet_context *ctx, struct packet_scratch *scratch, struct packet_info *packet,
                          struct flow *entry, int hook)
{
    if (entry->flags & FLOW_TO_STACK || packet->ttl <= 1)
        return ACTION_PASS;
    int known = entry->ifindex || next_hop_reuse(ctx, packet, entry, hook);
    __u16 flags = entry->flags;
    if (UNLIKELY(!known) &&
        next_hop_lookup(ctx, scratch, packet, entry, &flags, hook) != BPF_FIB_LKUP_RET_SUCCESS)
        return ACTION_PASS;
    __u32 ifindex = entry->ifindex;
    int hairpin = ifindex == ctx->ingress_ifindex;
    if ((!hairpin && !(flags & FLOW_XDP)) || (entry->mtu && packet->length > entry->mtu))
        return ACTION_PASS;
    connection_count_packet(entry, packet->length);
    if (!packet_translate(ctx, packet, entry, entry->macs, 1))
        return ACTION_PASS;
    return hairpin ? XDP_TX : bpf_redirect(ifindex, 0);
}
#endif
