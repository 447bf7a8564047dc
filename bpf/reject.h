/* Answers to what can't be served: a TCP reset, or an ICMP error about the packet. Included for each family, for tc only.
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

INLINE int V(reset)(HERE *here, const struct V(packet) *packet, int hook)
{
    const struct V_KEY(flow) *key = &packet->key;
    if (packet->flags & TCP_RST)
        return DROP;
    struct tcp *tcp = DATA(here) + HEADER + IP_LENGTH;
    if ((void *)(tcp + 1) > DATA_END(here))
        return DROP;
    __u16 length = packet->length - IP_LENGTH; /* of TCP */
    __u32 used = (length - (__u32)(tcp->offset >> 4) * 4) + (packet->flags & TCP_SYN ? 1 : 0) + (packet->flags & TCP_FIN ? 1 : 0);
    __be32 sequence = 0, acknowledgement = 0;
    __u8 flags = TCP_RST;
    if (packet->flags & TCP_ACK) {
        sequence = tcp->acknowledgement;
    } else {
        flags |= TCP_ACK;
        acknowledgement = NET32(NET32(tcp->sequence) + used);
    }
    /* where the checksum is still to be computed, the field holds the sum of the pseudo header, and has to for the answer */
    int partial = tcp->check == fold(V(pseudo)(key, PROTOCOL_TCP, length));
    if (bpf_skb_change_tail(here, HEADER + IP_LENGTH + sizeof(struct tcp), 0))
        return DROP;
    struct V(header) *ip = DATA(here) + HEADER;
    tcp = (void *)ip + IP_LENGTH;
    if ((void *)(tcp + 1) > DATA_END(here))
        return DROP;
    V(answer_header)(ip, key, PROTOCOL_TCP, sizeof(*tcp));
    tcp->source = key->dport;
    tcp->destination = key->sport;
    tcp->sequence = sequence;
    tcp->acknowledgement = acknowledgement;
    tcp->offset = 5 << 4;
    tcp->flags = flags;
    tcp->window = 0;
    tcp->urgent = 0;
    __u64 sum = V(pseudo)(key, PROTOCOL_TCP, sizeof(*tcp));
    if (partial)
        tcp->check = fold(sum);
    else
        tcp->check = ~fold(sum + *(__u32 *)&tcp->source + sequence + acknowledgement + *(__u16 *)&tcp->offset);
    return V(back)(here, hook);
}

/* An ICMP error of `type` and `code` that carries the packet's first bytes: its IP header and 8 more. `rest`: the second word. */
INLINE int V(complain)(HERE *here, const struct V_KEY(flow) *key, __u8 type, __u8 code, __be32 rest, int hook)
{
#define CARRIED (IP_LENGTH + 8)
    if (bpf_skb_change_tail(here, HEADER + CARRIED, 0) || bpf_skb_adjust_room(here, IP_LENGTH + sizeof(struct icmp), BPF_ADJ_ROOM_MAC, 0))
        return DROP;
    struct V(header) *ip = DATA(here) + HEADER;
    struct icmp *icmp = (void *)ip + IP_LENGTH;
    __u32 *carried = (void *)(icmp + 1);
    if ((void *)carried + CARRIED > DATA_END(here))
        return DROP;
    V(answer_header)(ip, key, PROTOCOL_ICMP, sizeof(*icmp) + CARRIED);
    icmp->type = type;
    icmp->code = code;
    icmp->check = 0;
    icmp->rest = rest;
    __u64 sum = 0;
#pragma unroll
    for (int i = 0; i < CARRIED / 4; i++)
        sum += carried[i];
    sum += *(__u32 *)icmp + (__u64)rest;
#if FAMILY == 6
    sum += V(pseudo)(key, PROTOCOL_ICMP, sizeof(*icmp) + CARRIED);
#endif
    icmp->check = ~fold(sum);
    return V(back)(here, hook);
#undef CARRIED
}

/* Nobody there: what kube-proxy's REJECT says, but a reset to TCP, which every client understands at once. */
INLINE int V(reject)(HERE *here, const struct V(packet) *packet, int hook)
{
    if (packet->key.protocol == PROTOCOL_TCP)
        return V(reset)(here, packet, hook);
    return V(complain)(here, &packet->key, FAMILY == 4 ? 3 : 1, FAMILY == 4 ? 3 : 4, 0, hook); /* port unreachable */
}

/* The way there takes packets of at most `mtu` bytes. One that may be fragmented is left to the stack, rewritten. */
INLINE int V(too_big)(HERE *here, const struct V(packet) *packet, const struct V(flow) *flow, __u16 mtu, int hook)
{
#if FAMILY == 4
    struct header4 *ip = DATA(here) + HEADER;
    if ((void *)(ip + 1) > DATA_END(here))
        return DROP;
    if (!(ip->fragment & NET16(0x4000))) {
        V(rewrite)(here, packet, flow, NULL, 0);
        return PASS;
    }
    return V(complain)(here, &packet->key, 3, 4, NET32((__u32)mtu), hook);
#else
    return V(complain)(here, &packet->key, 2, 0, NET32((__u32)mtu), hook);
#endif
}
