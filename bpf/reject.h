/* Answers to what can't be served: an ICMP error about the packet. Included for each family, for tc only.
 *
 * The packet is made into its answer and goes back: out of the interface that it came in by, or through lo to the node's own socket.
 */

INLINE int V(back)(HERE *here, int hook)
{
    if (hook == LEAVING)
        return V(home)(here);
#if MAC_LENGTH
    struct ethernet *ethernet = DATA(here);
    if ((void *)(ethernet + 1) > DATA_END(here))
        return DROP;
    __u8 from[6];
    __builtin_memcpy(from, ethernet->source, 6);
    __builtin_memcpy(ethernet->source, ethernet->destination, 6);
    __builtin_memcpy(ethernet->destination, from, 6);
#endif
    return bpf_redirect(here->ifindex, 0);
}

/* An IP header from the address that was spoken to. */
INLINE void V(answer_header)(struct V(header) *ip, const struct V_KEY(flow) *key, __u8 protocol, __u16 payload)
{
#if FAMILY == 4
    ip->version = 0x45;
    ip->tos = 0;
    ip->length = NET16((__u16)(IP_LENGTH + payload));
    ip->id = 0;
    ip->fragment = NET16(0x4000);
    ip->ttl = 64;
    ip->protocol = protocol;
    ip->source = key->daddr;
    ip->destination = key->saddr;
    ip->check = ~fold((__u64)NET16(0x4500) + ip->length + ip->fragment + NET16((__u16)(64 << 8 | protocol)) + sum_of4(key->daddr) +
                      sum_of4(key->saddr));
#else
    ip->version = NET32(0x60000000);
    ip->length = NET16(payload);
    ip->protocol = protocol;
    ip->ttl = 64;
    ip->source = key->daddr;
    ip->destination = key->saddr;
#endif
}

/* The sum of the pseudo header (RFC 793, RFC 8200). */
INLINE __u64 V(pseudo)(const struct V_KEY(flow) *key, __u8 protocol, __u16 length)
{
    return V(sum_of)(key->saddr) + V(sum_of)(key->daddr) + NET16(protocol) + NET16(length);
}

/* An ICMP error that carries the packet's first `carried` bytes. */
INLINE int V(complain_with)(HERE *here, const struct V_KEY(flow) *key, __u8 type, __u8 code, __be32 rest, int hook, const __u32 carried)
{
    if (bpf_skb_change_tail(here, HEADER + carried, 0) || bpf_skb_adjust_room(here, IP_LENGTH + sizeof(struct icmp), BPF_ADJ_ROOM_MAC, 0))
        return DROP;
    struct V(header) *ip = DATA(here) + HEADER;
    struct icmp *icmp = (void *)ip + IP_LENGTH;
    __u32 *words = (void *)(icmp + 1);
    if ((void *)words + carried > DATA_END(here))
        return DROP;
    V(answer_header)(ip, key, PROTOCOL_ICMP, sizeof(*icmp) + carried);
    icmp->type = type;
    icmp->code = code;
    icmp->check = 0;
    icmp->rest = rest;
    __u64 sum = 0;
#pragma unroll
    for (int i = 0; i < carried / 4; i++)
        sum += words[i];
    sum += *(__u32 *)icmp + (__u64)rest;
#if FAMILY == 6
    sum += V(pseudo)(key, PROTOCOL_ICMP, sizeof(*icmp) + carried);
#endif
    icmp->check = ~fold(sum);
    return V(back)(here, hook);
}

/* An ICMP error of `type` and `code` that carries the packet's IP header and 8 more bytes, of TCP all 20: the kernel lets nobody cut off
 * a checksum that is still to be computed. `rest`: the second word. */
INLINE int V(complain)(HERE *here, const struct V_KEY(flow) *key, __u8 type, __u8 code, __be32 rest, int hook)
{
    if (key->protocol == PROTOCOL_TCP)
        return V(complain_with)(here, key, type, code, rest, hook, IP_LENGTH + sizeof(struct tcp));
    return V(complain_with)(here, key, type, code, rest, hook, IP_LENGTH + 8);
}
