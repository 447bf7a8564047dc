/* ICMP errors about packets that can't be served. Included for each family, for tc only.
 *
 * The packet itself becomes the error and goes back: out of the interface that it came in by, or, if a socket
 * of the node sent it, through lo.
 */

INLINE int redirect_to_sender(packet_context *ctx, int hook)
{
    if (hook == HOOK_EGRESS)
        return redirect_to_loopback(ctx);
#if MAC_LENGTH
    struct ethernet_header *ethernet = DATA(ctx);
    if ((void *)(ethernet + 1) > DATA_END(ctx))
        return ACTION_DROP;
    __u8 sender[ETH_ALEN];
    __builtin_memcpy(sender, ethernet->source, ETH_ALEN);
    __builtin_memcpy(ethernet->source, ethernet->destination, ETH_ALEN);
    __builtin_memcpy(ethernet->destination, sender, ETH_ALEN);
#endif
    return bpf_redirect(ctx->ifindex, 0);
}

/* Writes the IP header of an ICMP message of `payload` bytes, from the destination of `key` to its source. */
INLINE void ip_header_init(struct ip_header *ip, const struct flow_key *key, __u16 payload)
{
#if FAMILY == 4
    ip->version = IPV4_VERSION_IHL;
    ip->tos = 0;
    ip->length = NET16((__u16)(IP_HEADER_LENGTH + payload));
    ip->id = 0;
    ip->fragment = NET16(IP_DF);
    ip->ttl = IPDEFTTL;
    ip->protocol = ICMP_PROTOCOL;
    ip->source = key->daddr;
    ip->destination = key->saddr;
    __u64 sum = (__u64)NET16(IPV4_VERSION_IHL << 8) + ip->length + ip->fragment +
                NET16(IPDEFTTL << 8 | ICMP_PROTOCOL) + checksum_of_address(key->daddr) +
                checksum_of_address(key->saddr);
    ip->check = ~checksum_fold(sum);
#else
    ip->version = NET32(IPV6_VERSION);
    ip->length = NET16(payload);
    ip->protocol = ICMP_PROTOCOL;
    ip->ttl = IPDEFTTL;
    ip->source = key->daddr;
    ip->destination = key->saddr;
#endif
}

/* The sum of the pseudo header (RFC 8200), which ICMPv6 has and ICMP has not. */
INLINE __u64 icmp_pseudo_header_sum(const struct flow_key *key, __u16 length)
{
#if FAMILY == 4
    return 0;
#else
    return checksum_of_address(key->saddr) + checksum_of_address(key->daddr) + NET16(ICMP_PROTOCOL) +
           NET16(length);
#endif
}

/* "Port unreachable": the Service has no endpoint. For TCP too, as kube-proxy's REJECT. */
INLINE struct icmp_header icmp_port_unreachable(void)
{
#if FAMILY == 4
    struct icmp_header icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_PORT_UNREACH };
#else
    struct icmp_header icmp = { .type = ICMPV6_DEST_UNREACH, .code = ICMPV6_PORT_UNREACH };
#endif
    return icmp;
}

/* "Fragmentation needed" or "packet too big": the packet exceeds the MTU of its route. */
INLINE struct icmp_header icmp_packet_too_big(__u32 mtu)
{
#if FAMILY == 4
    struct icmp_header icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_FRAG_NEEDED, .rest = NET32(mtu) };
#else
    struct icmp_header icmp = { .type = ICMPV6_PKT_TOOBIG, .rest = NET32(mtu) };
#endif
    return icmp;
}

/* Turns the packet into an ICMP error that quotes its first `quoted` bytes, and sends it. */
INLINE int icmp_error_send_quoting(packet_context *ctx, const struct flow_key *key, struct icmp_header error,
                                   int hook, const __u32 quoted)
{
    const __u32 added = IP_HEADER_LENGTH + sizeof(struct icmp_header);
    if (bpf_skb_change_tail(ctx, IP_OFFSET + quoted, 0))
        return ACTION_DROP;
    if (bpf_skb_adjust_room(ctx, added, BPF_ADJ_ROOM_MAC, 0))
        return ACTION_DROP;
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    struct icmp_header *icmp = (void *)ip + IP_HEADER_LENGTH;
    __u32 *quote = (void *)(icmp + 1);
    if ((void *)quote + quoted > DATA_END(ctx))
        return ACTION_DROP;
    ip_header_init(ip, key, sizeof(*icmp) + quoted);
    *icmp = error;
    __u64 sum = 0;
#pragma unroll
    for (int i = 0; i < quoted / sizeof(*quote); i++)
        sum += quote[i];
    sum += *(__u32 *)&error + (__u64)error.rest + icmp_pseudo_header_sum(key, sizeof(*icmp) + quoted);
    icmp->check = ~checksum_fold(sum);
    return redirect_to_sender(ctx, hook);
}

/* Answers the packet with an ICMP error, and drops it.
 *
 * It quotes the IP header and as little more as is allowed; of TCP and SCTP the whole header, because the kernel
 * refuses to cut off a checksum that is still to be computed. */
INLINE int icmp_error_send(packet_context *ctx, const struct flow_key *key, struct icmp_header error,
                           int hook)
{
    if (key->protocol == IPPROTO_TCP)
        return icmp_error_send_quoting(ctx, key, error, hook, IP_HEADER_LENGTH + sizeof(struct tcp_header));
    if (key->protocol == IPPROTO_SCTP)
        return icmp_error_send_quoting(ctx, key, error, hook, IP_HEADER_LENGTH + SCTP_COMMON_HEADER_LENGTH);
    return icmp_error_send_quoting(ctx, key, error, hook, IP_HEADER_LENGTH + ICMP_QUOTE_MIN);
}
