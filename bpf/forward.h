/* A packet of a known connection: translated and sent on. Included for each family. */

/* Looks up the route of a packet from `source`, its source on arrival, to `destination`, its destination
 * after translation: netfilter too translates the destination before routing and the source after it. The
 * answer is in scratch->fib. Returns BPF_FIB_LKUP_RET_*. */
INLINE int route_lookup(packet_context *ctx, struct packet_scratch *scratch, ip_address source,
                        ip_address destination, __u16 length, int hook)
{
    struct bpf_fib_lookup *fib = &scratch->fib;
    __builtin_memset(fib, 0, sizeof(*fib));
    fib->ifindex = hook == HOOK_EGRESS ? LOOPBACK_IFINDEX : packet_ifindex(ctx);
#ifndef TC
    fib->tot_len = length; /* in tc the kernel compares the length of the socket buffer, in segments */
#endif
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
    int found = route_lookup(ctx, scratch, packet->key.saddr, entry->daddr, packet->length, hook);
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
    }
    return found;
}

/* Takes one from the TTL. Returns what that changes the header's sum by (IPv6 has none). */
INLINE __u64 ttl_decrement(struct ip_header *ip)
{
#if FAMILY == 4
    __u16 *word = (__u16 *)&ip->ttl, old = *word;
    ip->ttl -= 1;
    return checksum_diff16(old, *word);
#else
    ip->ttl -= 1;
    return 0;
#endif
}

/* Writes new addresses. `difference`: what they, and the TTL, change the header's sum by. */
INLINE void ip_header_translate(struct ip_header *ip, ip_address source, ip_address destination,
                                __u64 difference)
{
#if FAMILY == 4
    ip->check = checksum_adjust(ip->check, difference);
#endif
    ip->source = source;
    ip->destination = destination;
}

#ifdef TC
/* Adjusts the checksum of TCP or UDP to new addresses and ports, by the kernel's helpers: they know whether
 * the checksum is still to be computed (CHECKSUM_PARTIAL: then the field has the sum of the addresses).
 * Pointers into the packet are invalid after it. */
INLINE void l4_checksum_translate(packet_context *ctx, __u8 protocol, __u64 addresses, __u64 ports)
{
    __u32 field = IP_OFFSET + IP_HEADER_LENGTH + L4_CHECKSUM_OFFSET(protocol);
    __u64 mode = protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
#if FAMILY == 4
    bpf_l4_csum_replace(ctx, field, 0, checksum_fold32(addresses), BPF_F_PSEUDO_HDR | mode);
#else
    if (bpf_l4_csum_replace(ctx, field, 0, checksum_fold32(addresses), BPF_F_PSEUDO_HDR | mode | BPF_F_IPV6))
        bpf_l4_csum_replace(ctx, field, 0, checksum_fold32(addresses), BPF_F_PSEUDO_HDR | mode);
#endif
    if (ports != CHECKSUM_UNCHANGED32)
        bpf_l4_csum_replace(ctx, field, 0, checksum_fold32(ports), mode);
}
#else
/* Adjusts the checksum of TCP or UDP, unless a datagram has none. False if the packet ends before it. */
INLINE int l4_checksum_translate(packet_context *ctx, struct udp_header *l4, __u8 protocol, __u64 difference)
{
    __sum16 *check = (void *)l4 + L4_CHECKSUM_OFFSET(protocol);
    if ((void *)(check + 1) > DATA_END(ctx))
        return 0;
    if (protocol == IPPROTO_TCP || *check) {
        __sum16 adjusted = checksum_adjust(*check, difference);
        *check = protocol == IPPROTO_UDP && !adjusted ? UDP_CHECKSUM_ZERO : adjusted;
    }
    return 1;
}
#endif

/* Writes the entry's addresses and ports into the packet, and `macs` unless NULL. `forwards`: decrements the
 * TTL. False if nothing was written. */
INLINE int packet_translate(packet_context *ctx, const struct packet_info *packet, const struct flow *entry,
                            const __u8 *macs, int forwards)
{
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    struct udp_header *l4 = (void *)ip + IP_HEADER_LENGTH;
    if ((void *)(l4 + 1) > DATA_END(ctx))
        return 0;
    __u64 addresses = checksum_diff_address(packet->key.saddr, entry->saddr) +
                      checksum_diff_address(packet->key.daddr, entry->daddr);
    __u64 ports = checksum_diff32(*(__u32 *)&packet->key.sport, *(__u32 *)&entry->sport);
#ifndef TC
    if (!l4_checksum_translate(ctx, l4, packet->key.protocol, addresses + ports))
        return 0;
#endif
#if MAC_LENGTH
    if (macs)
        __builtin_memcpy((void *)ip - IP_OFFSET, macs, 2 * ETH_ALEN);
#endif
    __u64 header = addresses + (forwards ? ttl_decrement(ip) : 0);
    ip_header_translate(ip, entry->saddr, entry->daddr, header);
    l4->source = entry->sport;
    l4->destination = entry->dport;
#ifdef TC
    l4_checksum_translate(ctx, packet->key.protocol, addresses, ports);
#endif
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

/* OUTPUT_* of a packet to a pod or to another node. *ifindex becomes the interface that it leaves by. */
INLINE int output_by_route(packet_context *ctx, struct packet_scratch *scratch,
                           const struct packet_info *packet, struct flow *entry, int hook, __u32 *ifindex)
{
    if (hook == HOOK_INGRESS && packet->ttl <= 1)
        return OUTPUT_UNCHANGED; /* the stack answers: time exceeded */
    __u16 flags = entry->flags;
    int output = OUTPUT_CACHED_NEXT_HOP, too_big = 0;
    *ifindex = entry->ifindex;
    if (UNLIKELY(!*ifindex)) {
        int found = next_hop_lookup(ctx, scratch, packet, entry, &flags, hook);
        *ifindex = scratch->fib.ifindex;
        output = OUTPUT_NEW_NEXT_HOP;
        if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
            too_big = 1;
        } else if (!route_exists(found)) {
            if (is_masqueraded(packet, entry)) {
                count_reason(REASON_NO_ROUTE_DROPPED);
                return OUTPUT_DROP;
            }
            output = OUTPUT_STACK; /* it may have a route that lookups can't return (a tunnel), or answers */
        }
    } else if (UNLIKELY(packet->length > entry->mtu && entry->mtu && !ctx->gso_size)) {
        scratch->fib.mtu_result = entry->mtu;
        too_big = 1;
    }
    if (UNLIKELY(too_big)) {
        if (packet->dont_fragment)
            return OUTPUT_TOO_BIG;
        output = OUTPUT_STACK; /* which fragments it */
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
    if (!packet_translate(ctx, packet, entry, output_has_macs(output, entry) ? entry->macs : NULL, forwards))
        return ACTION_PASS;

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
    __u16 flags = entry->flags;
    if (flags & FLOW_TO_STACK || packet->ttl <= 1)
        return ACTION_PASS;
    if (UNLIKELY(!entry->ifindex) &&
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
