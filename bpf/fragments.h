/* Datagrams in fragments. Only the first one has the ports, which are kept for the others by addresses,
 * protocol and id. A fragment that comes before the first can't be translated. Included for each family, for
 * tc only; XDP leaves fragments to it.
 *
 * If the first doesn't fit the route to the backend, the stack cuts it again. It may put the datagram together
 * for that, so it has to get every fragment.
 */

#define FRAGMENT_TIMEOUT (30 * NSEC_PER_SEC) /* as net.ipv4.ipfrag_time */

/* Sets scratch->datagram, and packet->fragment to whether it is the first. `header`: IPv6, of the fragment. False
 * if it is no datagram's. */
INLINE int fragment_key_init(struct packet_scratch *scratch, struct packet_info *packet, const void *header,
                             const struct ip_header *ip)
{
    struct fragment_key *key = &scratch->datagram;
    key->saddr = ip->source;
    key->daddr = ip->destination;
    key->protocol = IPPROTO_UDP;
    key->pad[0] = key->pad[1] = key->pad[2] = 0;
#if FAMILY == 4
    key->id = ip->id;
    packet->fragment = ip->fragment & NET16(IP_OFFMASK) ? FRAGMENT_LATER : FRAGMENT_FIRST;
    packet->dont_fragment = ip_dont_fragment(ip);
    return ip->protocol == IPPROTO_UDP && ip->version == IPV4_VERSION_IHL;
#else
    const struct fragment_header *fragment = header;
    key->id = fragment->id;
    packet->fragment = fragment->offset & NET16(IPV6_OFFMASK) ? FRAGMENT_LATER : FRAGMENT_FIRST;
    packet->dont_fragment = 1;
    return fragment->next == IPPROTO_UDP;
#endif
}

/* Takes the ports of a later fragment from the first one. PARSED_TUPLE, or what becomes of it without them: it is
 * lost if it is for a Service's address, and may be the node's own otherwise. */
INLINE int later_fragment_parse(struct packet_scratch *scratch, struct packet_info *packet)
{
    struct fragment *first = LOOKUP(fragments, &scratch->datagram);
    if (first && (__s64)(bpf_ktime_get_coarse_ns() - first->seen) < (__s64)FRAGMENT_TIMEOUT) {
        packet->key.sport = first->sport;
        packet->key.dport = first->dport;
        packet->fit = first->fits ? packet->length : FITS_NOTHING;
        return PARSED_TUPLE;
    }
    int is_lost = frontend_lookup_exact(scratch, packet->key.daddr, 0, 0) != NULL;
    count_reason(is_lost ? REASON_FRAGMENT_DROPPED : REASON_FRAGMENT_PASSED);
    return is_lost ? PARSED_LOST : PARSED_OTHER;
}

/* Fills in `packet`, whose ports are known if it is PARSED_TUPLE. */
INLINE int fragment_parse(packet_context *ctx, struct packet_scratch *scratch, struct packet_info *packet)
{
    const __u32 offset = IP_OFFSET + IP_HEADER_LENGTH + FRAGMENT_HEADER_LENGTH;
    packet_may_pull(ctx, offset + sizeof(struct udp_header)); /* false: the last one may be shorter */
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    void *header = (void *)ip + IP_HEADER_LENGTH;
    struct udp_header *udp = header + FRAGMENT_HEADER_LENGTH;
    if ((void *)udp > DATA_END(ctx))
        return PARSED_OTHER;
    packet->length = packet->fit = ip_total_length(ip);
    packet->ttl = ip->ttl;
    packet->tcp_flags = 0;
    if (packet->length > packet_length(ctx) - IP_OFFSET || !fragment_key_init(scratch, packet, header, ip)) {
        count_reason(REASON_FRAGMENT_PASSED);
        return PARSED_OTHER;
    }
    __builtin_memset(&packet->key, 0, sizeof(packet->key));
    packet->key.saddr = ip->source;
    packet->key.daddr = ip->destination;
    packet->key.protocol = IPPROTO_UDP;
    if (packet->fragment == FRAGMENT_LATER)
        return later_fragment_parse(scratch, packet);
    if ((void *)(udp + 1) > DATA_END(ctx))
        return PARSED_OTHER;
    packet->key.sport = udp->source;
    packet->key.dport = udp->destination;
    return PARSED_TUPLE;
}

/* Keeps the ports of a first fragment. `fits`: it goes past the stack. */
INLINE void fragment_store(struct packet_scratch *scratch, const struct packet_info *packet, int fits)
{
    struct fragment *first = &scratch->fragment;
    first->sport = packet->key.sport;
    first->dport = packet->key.dport;
    first->fits = fits;
    first->seen = bpf_ktime_get_coarse_ns();
    UPDATE(fragments, &scratch->datagram, first, BPF_ANY);
}

/* packet_translate() for a fragment. */
INLINE int fragment_translate(packet_context *ctx, const struct packet_info *packet, const struct flow *entry,
                              const __u8 *macs, int forwards)
{
    struct ip_header *ip = DATA(ctx) + IP_OFFSET;
    if ((void *)(ip + 1) > DATA_END(ctx))
        return 0;
    __u64 addresses = checksum_diff_address(packet->key.saddr, entry->saddr) +
                      checksum_diff_address(packet->key.daddr, entry->daddr);
#if MAC_LENGTH
    if (macs)
        __builtin_memcpy((void *)ip - IP_OFFSET, macs, 2 * ETH_ALEN);
#endif
    __u64 header = addresses + (forwards ? ttl_decrement(ip) : 0);
    ip_header_translate(ip, entry->saddr, entry->daddr, header);
    if (packet->fragment == FRAGMENT_LATER)
        return 1;
    struct udp_header *udp = (void *)ip + IP_HEADER_LENGTH + FRAGMENT_HEADER_LENGTH;
    if ((void *)(udp + 1) > DATA_END(ctx))
        return 1;
    __u64 ports = checksum_diff32(*(__u32 *)&packet->key.sport, *(__u32 *)&entry->sport);
    udp->source = entry->sport;
    udp->destination = entry->dport;
    l4_checksum_translate(ctx, FRAGMENT_HEADER_LENGTH, IPPROTO_UDP, addresses, ports);
    return 1;
}
