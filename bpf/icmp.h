/* ICMP errors about translated packets, on their way back. Included for each family, for tc only.
 *
 *            IP: source -> destination    | ICMP | quoted IP: source -> destination | quoted L4
 *
 *   arrives  router or backend -> source  | ICMP | source -> backend                | 8 bytes of TCP, UDP or SCTP
 *   leaves   router or backend -> client  | ICMP | client -> frontend               | translated back
 *
 * `source` is the masquerade address, or the client's. The quoted packet is the value of one entry, as it was
 * translated. So its reverse is the key of the entry that mirrors it, and the reverse of that one's value is
 * what the packet was before. Errors about replies, on their way to the backend, are translated in the same
 * way.
 */

/* Sets *key to the reverse of the packet that the error quotes. False if it is cut, or has no ports. */
INLINE int icmp_error_quoted_key(packet_context *ctx, const struct packet_info *packet, struct flow_key *key)
{
    const __u32 offset = IP_HEADER_LENGTH + sizeof(struct icmp_header);
    const __u32 length = IP_HEADER_LENGTH + ICMP_QUOTE_MIN;
    if (packet->length < offset + length || !packet_may_pull(ctx, IP_OFFSET + offset + length))
        return 0;
    struct ip_header *quoted = DATA(ctx) + IP_OFFSET + offset;
    struct udp_header *l4 = (void *)quoted + IP_HEADER_LENGTH;
    if ((void *)(l4 + 1) > DATA_END(ctx))
        return 0;
#if FAMILY == 4
    if (quoted->version != IPV4_VERSION_IHL || quoted->fragment & NET16(IP_OFFMASK))
        return 0;
#else
    if ((quoted->version & NET32(IPV6_VERSION_MASK)) != NET32(IPV6_VERSION))
        return 0;
#endif
    key->saddr = quoted->destination;
    key->daddr = quoted->source;
    key->sport = l4->destination;
    key->dport = l4->source;
    key->protocol = quoted->protocol;
    key->pad[0] = key->pad[1] = key->pad[2] = 0;
    return PROTOCOL_IS_STREAM(key->protocol) || key->protocol == IPPROTO_UDP;
}

/* Translates the quoted packet back to what it was before `entry`'s connection was translated. Returns what
 * that changes the sum of the ICMP message by. */
INLINE __u64 icmp_error_translate_quoted(struct ip_header *quoted, struct udp_header *l4, __u8 protocol,
                                         const struct flow *entry)
{
    __be32 *ports = (__be32 *)l4;
    __be32 new_ports = (__u32)entry->dport | (__u32)entry->sport << 16;
    __u64 addresses = checksum_diff_address(quoted->source, entry->daddr) +
                      checksum_diff_address(quoted->destination, entry->saddr);
    __u64 difference = addresses + checksum_diff32(*ports, new_ports);
    if (protocol == IPPROTO_UDP && l4->check) {
        __sum16 check = checksum_adjust(l4->check, difference);
        check = check ? check : UDP_CHECKSUM_ZERO;
        difference += checksum_diff16(l4->check, check);
        l4->check = check;
    }
    *ports = new_ports;
    quoted->source = entry->daddr;
    quoted->destination = entry->saddr;
#if FAMILY == 4
    __sum16 check = checksum_adjust(quoted->check, addresses);
    difference += checksum_diff16(quoted->check, check);
    quoted->check = check;
#endif
    return difference;
}

/* Adjusts the checksum of the ICMP message. `addresses`: what new addresses change the sum of the pseudo
 * header by, which ICMPv6 has. */
INLINE void icmp_checksum_translate(packet_context *ctx, __u64 message, __u64 addresses)
{
    __u32 field = IP_OFFSET + IP_HEADER_LENGTH + __builtin_offsetof(struct icmp_header, check);
    bpf_l4_csum_replace(ctx, field, 0, checksum_fold32(message), 0);
#if FAMILY == 6
    if (bpf_l4_csum_replace(ctx, field, 0, checksum_fold32(addresses), BPF_F_PSEUDO_HDR | BPF_F_IPV6))
        bpf_l4_csum_replace(ctx, field, 0, checksum_fold32(addresses), BPF_F_PSEUDO_HDR);
#endif
}

/* Writes the addresses of `outer` into the error, and those that the quoted packet had into that one.
 * `entry`: of the quoted packet's reverse. False if nothing was written. */
INLINE int icmp_error_rewrite(packet_context *ctx, const struct packet_info *packet,
                              const struct flow *outer, const struct flow *entry, __u8 protocol,
                              int forwards)
{
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    struct icmp_header *icmp = (void *)ip + IP_HEADER_LENGTH;
    struct ip_header *quoted = (void *)(icmp + 1);
    struct udp_header *l4 = (void *)quoted + IP_HEADER_LENGTH;
    if ((void *)(l4 + 1) > DATA_END(ctx))
        return 0;
    __u64 message = icmp_error_translate_quoted(quoted, l4, protocol, entry);
    __u64 addresses = checksum_diff_address(packet->key.saddr, outer->saddr) +
                      checksum_diff_address(packet->key.daddr, outer->daddr);
    __u64 header = addresses + (forwards ? ttl_decrement(ip) : 0);
    ip_header_translate(ip, outer->saddr, outer->daddr, header);
    icmp_checksum_translate(ctx, message, addresses);
    return 1;
}

/* OUTPUT_* of an ICMP error to `destination`; of the kinds that forward it OUTPUT_NEW_NEXT_HOP only. */
INLINE int icmp_error_output(packet_context *ctx, struct packet_scratch *scratch,
                             const struct packet_info *packet, ip_address destination, __u16 flags, int hook)
{
    if (hook == HOOK_EGRESS && address_equal(packet->key.daddr, destination))
        return OUTPUT_STACK; /* it is on its way there already */
    if (flags & FLOW_TO_STACK) {
        if (hook == HOOK_EGRESS)
            return ctx->ifindex == LOOPBACK_IFINDEX ? OUTPUT_STACK : OUTPUT_LOOPBACK;
        return flags & FLOW_REPLY ? OUTPUT_LOOPBACK : OUTPUT_STACK;
    }
    if (hook == HOOK_INGRESS && packet->ttl <= 1)
        return OUTPUT_UNCHANGED;
    int found = route_lookup(ctx, scratch, packet->key.saddr, destination, packet->length, hook);
    return route_exists(found) ? OUTPUT_NEW_NEXT_HOP : OUTPUT_UNCHANGED;
}

/* Translates an ICMP error about a packet of a known connection and sends it on; passes any other. */
INLINE int icmp_error_translate(packet_context *ctx, struct packet_scratch *scratch,
                                const struct packet_info *packet, int hook)
{
    struct flow_key *key = &scratch->reverse;
    if (!icmp_error_quoted_key(ctx, packet, key))
        return ACTION_PASS;
    struct flow *entry = flow_find(key);
    if (!entry)
        return ACTION_PASS;

    /* An error from the backend seems to come from the frontend; one from a router keeps its source. */
    struct flow *outer = &scratch->forward;
    outer->saddr = address_equal(packet->key.saddr, key->saddr) ? entry->saddr : packet->key.saddr;
    outer->daddr = entry->daddr;
    int output = icmp_error_output(ctx, scratch, packet, outer->daddr, entry->flags, hook);
    if (output == OUTPUT_UNCHANGED)
        return ACTION_PASS;
    int forwards = hook == HOOK_INGRESS && output == OUTPUT_NEW_NEXT_HOP;
    if (!icmp_error_rewrite(ctx, packet, outer, entry, key->protocol, forwards))
        return ACTION_PASS;

    switch (output) {
    case OUTPUT_NEW_NEXT_HOP:
        return redirect_to_next_hop(ctx, &scratch->fib, &scratch->next_hop);
    case OUTPUT_LOOPBACK:
        return redirect_to_loopback(ctx);
    }
    return ACTION_PASS;
}
