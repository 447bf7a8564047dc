/* Writes a flow entry's addresses and ports into a packet. Included for each family. */

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
 * `extension`: bytes between the IP header and that of TCP or UDP.
 * Pointers into the packet are invalid after it. */
INLINE void l4_checksum_translate(packet_context *ctx, __u32 extension, __u8 protocol, __u64 addresses,
                                  __u64 ports)
{
    __u32 field = IP_OFFSET + IP_HEADER_LENGTH + extension + L4_CHECKSUM_OFFSET(protocol);
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

/* Adjusts the checksum of an SCTP packet of `length` bytes to new ports; `difference`: old ^ new. A checksum of 0 is
 * computed later, over what is in its field too (skb_crc32c_csum_help()): it stays 0. False if the packet ends before it. */
INLINE int sctp_checksum_translate(packet_context *ctx, void *l4, __u32 length, __u32 difference)
{
    struct sctp_header *sctp = l4;
    if ((void *)(sctp + 1) > DATA_END(ctx))
        return 0;
    if (difference && sctp->check)
        sctp->check ^= crc32c_difference(difference, length / sizeof(__u32));
    return 1;
}

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
    __u32 old_ports = *(__u32 *)&packet->key.sport, new_ports = *(__u32 *)&entry->sport;
    __u64 ports = checksum_diff32(old_ports, new_ports);
    int sctp = packet->key.protocol == IPPROTO_SCTP;
    if (UNLIKELY(sctp) &&
        !sctp_checksum_translate(ctx, l4, packet->length - IP_HEADER_LENGTH, old_ports ^ new_ports))
        return 0;
#ifndef TC
    if (LIKELY(!sctp) && !l4_checksum_translate(ctx, l4, packet->key.protocol, addresses + ports))
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
    if (LIKELY(!sctp))
        l4_checksum_translate(ctx, 0, packet->key.protocol, addresses, ports);
#endif
    return 1;
}
