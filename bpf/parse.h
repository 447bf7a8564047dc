/* What a packet is. Included for each family.
 *
 *   Ethernet | IP, without options or extension headers | TCP, UDP, SCTP or ICMP
 */

/* What packet_parse() returns. */
#define PARSED_TUPLE 0        /* TCP, UDP or SCTP, with its ports */
#define PARSED_ICMP_ERROR 1   /* it quotes the packet that it is about */
#define PARSED_ECHO_REQUEST 2 /* ping */
#define PARSED_OTHER 3        /* not for us */
#define PARSED_FRAGMENT 4     /* for fragments.h */
#define PARSED_LOST 5         /* a fragment that nothing can be done with */

/* packet_info.fragment */
#define FRAGMENT_NONE 0
#define FRAGMENT_FIRST 1
#define FRAGMENT_LATER 2

#define FITS_NOTHING 0xffff /* packet_info.fit of a fragment that has to go by the stack */

struct packet_info {
    struct flow_key key; /* ports 0: ICMP */
    __u8 tcp_flags;      /* UDP, ICMP: 0; SCTP: those that say the same as its first chunk */
    __u8 ttl;
    __u8 dont_fragment;
    __u8 fragment; /* FRAGMENT_* */
    __u16 length;  /* from the IP header on */
    __u16 fit;     /* what the MTU must have room for: the length, but for fragments */
};

/* True if `ip` is the header of a fragment. */
INLINE int ip_is_fragment(const struct ip_header *ip)
{
#if FAMILY == 4
    return !!(ip->fragment & NET16(IP_MF | IP_OFFMASK));
#else
    return ip->protocol == IPPROTO_FRAGMENT;
#endif
}

/* True if `ip` is a header that we handle: no options. If not, the reason is counted. */
INLINE int ip_header_is_supported(const struct ip_header *ip)
{
#if FAMILY == 4
    if (ip->version != IPV4_VERSION_IHL) {
        int has_options = (ip->version & IPV4_VERSION_MASK) == IPV4_VERSION &&
                          (ip->version & IPV4_IHL_MASK) > IPV4_IHL_MIN;
        count_reason(has_options ? REASON_UNSUPPORTED_PASSED : REASON_MALFORMED_PASSED);
        return 0;
    }
#else
    if ((ip->version & NET32(IPV6_VERSION_MASK)) != NET32(IPV6_VERSION)) {
        count_reason(REASON_MALFORMED_PASSED);
        return 0;
    }
#endif
    return 1;
}

/* The length that the header states, itself included. */
INLINE __u32 ip_total_length(const struct ip_header *ip)
{
#if FAMILY == 4
    return NET16(ip->length);
#else
    return NET16(ip->length) + IP_HEADER_LENGTH;
#endif
}

INLINE int ip_dont_fragment(const struct ip_header *ip)
{
#if FAMILY == 4
    return !!(ip->fragment & NET16(IP_DF));
#else
    return 1; /* no router fragments IPv6 */
#endif
}

/* Sets *key to addresses, ports and protocol of the packet, as it is. */
INLINE void packet_key_init(struct flow_key *key, const struct ip_header *ip, const struct udp_header *l4)
{
    key->saddr = ip->source;
    key->daddr = ip->destination;
    key->sport = l4->source;
    key->dport = l4->destination;
    key->protocol = ip->protocol;
    key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

/* Fills in packet->tcp_flags. PARSED_*; a packet that is cut short is counted. */
INLINE int tcp_parse(packet_context *ctx, struct packet_info *packet)
{
    if (packet->length < IP_HEADER_LENGTH + sizeof(struct tcp_header) ||
        !packet_may_pull(ctx, IP_OFFSET + IP_HEADER_LENGTH + sizeof(struct tcp_header))) {
        count_reason(REASON_MALFORMED_PASSED);
        return PARSED_OTHER;
    }
    struct tcp_header *tcp = DATA(ctx) + IP_OFFSET + IP_HEADER_LENGTH;
    if ((void *)(tcp + 1) > DATA_END(ctx))
        return PARSED_OTHER;
    packet->tcp_flags = tcp->flags;
    return PARSED_TUPLE;
}

/* The TCP flags that say the same to connection tracking as an SCTP packet that begins with `chunk`. */
INLINE __u8 sctp_chunk_flags(__u8 chunk)
{
    switch (chunk) {
    case SCTP_INIT:
        return TCP_SYN;
    case SCTP_INIT_ACK:
        return TCP_SYN | TCP_ACK;
    case SCTP_SHUTDOWN:
    case SCTP_SHUTDOWN_ACK:
        return TCP_FIN | TCP_ACK;
    case SCTP_SHUTDOWN_COMPLETE:
    case SCTP_ABORT:
        return TCP_RST;
    }
    return TCP_ACK;
}

/* The same as tcp_parse(). An SCTP packet consists of words. */
INLINE int sctp_parse(packet_context *ctx, struct packet_info *packet)
{
    if (packet->length % sizeof(__u32) || packet->length < IP_HEADER_LENGTH + sizeof(struct sctp_header) ||
        !packet_may_pull(ctx, IP_OFFSET + IP_HEADER_LENGTH + sizeof(struct sctp_header))) {
        count_reason(REASON_MALFORMED_PASSED);
        return PARSED_OTHER;
    }
    struct sctp_header *sctp = DATA(ctx) + IP_OFFSET + IP_HEADER_LENGTH;
    if ((void *)(sctp + 1) > DATA_END(ctx))
        return PARSED_OTHER;
    packet->tcp_flags = sctp_chunk_flags(sctp->chunk);
    return PARSED_TUPLE;
}

/* PARSED_* for an ICMP type. */
INLINE int icmp_type_parse(__u8 type)
{
#if FAMILY == 4
    if (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB)
        return PARSED_ICMP_ERROR;
    return type == ICMP_ECHO ? PARSED_ECHO_REQUEST : PARSED_OTHER;
#else
    /* In between are ICMPV6_PKT_TOOBIG and ICMPV6_TIME_EXCEED. */
    if (type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB)
        return PARSED_ICMP_ERROR;
    return type == ICMPV6_ECHO_REQUEST ? PARSED_ECHO_REQUEST : PARSED_OTHER;
#endif
}

/* PARSED_* for a packet without room for ports, which only the last fragment may be. */
INLINE int short_packet_parse(packet_context *ctx)
{
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    if ((void *)(ip + 1) <= DATA_END(ctx) && ip_header_is_supported(ip) && ip_is_fragment(ip))
        return PARSED_FRAGMENT;
    count_reason(REASON_MALFORMED_PASSED);
    return PARSED_OTHER;
}

/* Fills in `packet`. PARSED_*; a packet that might be for a Service, but that we can't handle, is counted. */
INLINE int packet_parse(packet_context *ctx, struct packet_info *packet)
{
    if (!packet_may_pull(ctx, IP_OFFSET + IP_HEADER_LENGTH + sizeof(struct udp_header)))
        return short_packet_parse(ctx);
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    struct udp_header *l4 = (void *)ip + IP_HEADER_LENGTH;
    if ((void *)(l4 + 1) > DATA_END(ctx))
        return PARSED_OTHER;
    __u32 received = packet_length(ctx) - IP_OFFSET;
    if (!ip_header_is_supported(ip))
        return PARSED_OTHER;
    if (UNLIKELY(ip_is_fragment(ip)))
        return PARSED_FRAGMENT;
    __u32 length = ip_total_length(ip);
    if (length < IP_HEADER_LENGTH + sizeof(struct udp_header) || length > received) {
        count_reason(REASON_MALFORMED_PASSED);
        return PARSED_OTHER;
    }
    packet->length = packet->fit = length;
    packet->fragment = FRAGMENT_NONE;
    packet->ttl = ip->ttl;
    packet->tcp_flags = 0;
    packet->dont_fragment = ip_dont_fragment(ip);
    packet_key_init(&packet->key, ip, l4);

    switch (packet->key.protocol) {
    case IPPROTO_UDP:
        return PARSED_TUPLE;
    case IPPROTO_TCP:
        return tcp_parse(ctx, packet);
    case IPPROTO_SCTP:
        return sctp_parse(ctx, packet);
    case ICMP_PROTOCOL:
        packet->key.sport = packet->key.dport = 0;
        return icmp_type_parse(((struct icmp_header *)l4)->type);
    }
    count_reason(REASON_UNSUPPORTED_PASSED);
    return PARSED_OTHER;
}
