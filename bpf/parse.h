/* What a packet is. For both families: see family.h.
 *
 *   Ethernet | IP, without options or extension headers | TCP, UDP or ICMP
 */

/* The tuple is the key of the packet's flow. */
struct V(packet) {
    struct V_KEY(flow) key;
    __u8 flags; /* of TCP */
    __u8 ttl;
    __u8 whole; /* it may not be fragmented */
    __u16 length; /* from the IP header on */
};

/* Fills `packet`; FOUND_*. What we leave alone although it may be meant for a Service is counted. */
INLINE int V(parse)(HERE *here, struct V(packet) *packet)
{
    if (!reachable(here, HEADER + IP_LENGTH + 8)) {
        count_reason(REASON_MALFORMED_PASSED);
        return FOUND_NONE;
    }
    struct V(header) *ip = DATA(here) + HEADER;
    if ((void *)ip + IP_LENGTH + 8 > DATA_END(here))
        return FOUND_NONE;
    __u32 length = packet_length(here) - HEADER;
#if FAMILY == 4
    if (ip->version != 0x45) {
        count_reason((ip->version & 0xf0) == 0x40 && (ip->version & 0xf) > 5 ? REASON_UNSUPPORTED_PASSED : REASON_MALFORMED_PASSED);
        return FOUND_NONE;
    }
    if (ip->fragment & NET16(0x3fff)) { /* more to come, or not the first */
        count_reason(REASON_FRAGMENT_PASSED);
        return FOUND_NONE;
    }
    __u32 said = NET16(ip->length);
#else
    if ((ip->version & NET32(0xf0000000)) != NET32(0x60000000)) {
        count_reason(REASON_MALFORMED_PASSED);
        return FOUND_NONE;
    }
    if (ip->protocol == PROTOCOL_FRAGMENT) {
        count_reason(REASON_FRAGMENT_PASSED);
        return FOUND_NONE;
    }
    __u32 said = NET16(ip->length) + IP_LENGTH;
#endif
    if (said < IP_LENGTH + 8 || said > length) {
        count_reason(REASON_MALFORMED_PASSED);
        return FOUND_NONE;
    }
    packet->length = said;
    packet->ttl = ip->ttl;
    packet->flags = 0;
#if FAMILY == 4
    packet->whole = !!(ip->fragment & NET16(0x4000));
#else
    packet->whole = 1;
#endif
    packet->key.saddr = ip->source;
    packet->key.daddr = ip->destination;
    packet->key.protocol = ip->protocol;
    packet->key.pad[0] = packet->key.pad[1] = packet->key.pad[2] = 0;

    struct udp *udp = (void *)ip + IP_LENGTH;
    packet->key.sport = udp->source;
    packet->key.dport = udp->destination;
    if (packet->key.protocol == PROTOCOL_UDP)
        return FOUND_TUPLE;
    if (packet->key.protocol == PROTOCOL_TCP) {
        if (said < IP_LENGTH + sizeof(struct tcp) || !reachable(here, HEADER + IP_LENGTH + sizeof(struct tcp))) {
            count_reason(REASON_MALFORMED_PASSED);
            return FOUND_NONE;
        }
        struct tcp *tcp = DATA(here) + HEADER + IP_LENGTH;
        if ((void *)(tcp + 1) > DATA_END(here))
            return FOUND_NONE;
        packet->flags = tcp->flags;
        return FOUND_TUPLE;
    }
    if (packet->key.protocol == PROTOCOL_ICMP) {
        struct icmp *icmp = (void *)udp;
        packet->key.sport = packet->key.dport = 0;
#if FAMILY == 4
        /* unreachable, time exceeded, parameter problem */
        if (icmp->type == 3 || icmp->type == 11 || icmp->type == 12)
            return FOUND_ERROR;
        return icmp->type == 8 ? FOUND_ECHO : FOUND_NONE;
#else
        /* unreachable, too big, time exceeded, parameter problem */
        if (icmp->type >= 1 && icmp->type <= 4)
            return FOUND_ERROR;
        return icmp->type == 128 ? FOUND_ECHO : FOUND_NONE;
#endif
    }
    count_reason(REASON_UNSUPPORTED_PASSED);
    return FOUND_NONE;
}
