/* ICMP errors about translated packets, on their way back. Included for each family, for tc only.
 *
 *   IP: router or backend -> source | ICMP | IP: source -> backend | 8 bytes of TCP or UDP      from somewhere on the way to the backend
 *   IP: router or backend -> client | ICMP | IP: client -> frontend | ...                        what the client must get
 *
 * The packet inside is what one direction's entry made, so turned round it is the key of the other's, whose value turned round is
 * what it was. The same holds for errors about answers, on their way to the backend.
 */

INLINE int V(translate_error)(HERE *here, struct V(work) *work, struct V(packet) *packet, int hook)
{
    const __u32 inside = HEADER + IP_LENGTH + sizeof(struct icmp);
    if (packet->length < 2 * IP_LENGTH + sizeof(struct icmp) + 8 || !reachable(here, inside + IP_LENGTH + 8))
        return PASS;
    struct V(header) *inner = DATA(here) + inside;
    struct udp *ports = (void *)inner + IP_LENGTH;
    if ((void *)(ports + 1) > DATA_END(here))
        return PASS;
#if FAMILY == 4
    if (inner->version != 0x45 || inner->fragment & NET16(0x1fff))
        return PASS;
#else
    if ((inner->version & NET32(0xf0000000)) != NET32(0x60000000))
        return PASS;
#endif
    __u8 protocol = inner->protocol;
    if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP)
        return PASS;
    struct V_KEY(flow) *key = &work->other;
    key->saddr = inner->destination;
    key->daddr = inner->source;
    key->sport = ports->destination;
    key->dport = ports->source;
    key->protocol = protocol;
    key->pad[0] = key->pad[1] = key->pad[2] = 0;
    struct V(flow) *flow = LOOKUP(V(flows), key);
    if (!flow)
        return PASS;

    /* An error from the other end seems to come from whom the client spoke to; one from a router keeps its source. */
    struct V(flow) *outer = &work->forward;
    outer->saddr = V(same)(packet->key.saddr, key->saddr) ? flow->saddr : packet->key.saddr;
    outer->daddr = flow->daddr;
    __u16 flags = flow->flags;
    int there = hook == LEAVING && V(same)(packet->key.daddr, outer->daddr), forwards = !there && !(flags & FLOW_TO_STACK);
    if (forwards) {
        if (hook == COMING && packet->ttl <= 1)
            return PASS;
        int found = V(route)(here, work, packet->key.saddr, outer->daddr, packet->length, hook);
        if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
            return PASS;
    }

    struct V(header) *ip = DATA(here) + HEADER;
    struct icmp *icmp = (void *)ip + IP_LENGTH;
    inner = (void *)(icmp + 1);
    ports = (void *)inner + IP_LENGTH;
    if ((void *)(ports + 1) > DATA_END(here))
        return PASS;
    __be32 old_ports = *(__be32 *)ports, new_ports = (__u32)flow->dport | (__u32)flow->sport << 16;
    __u64 addresses = V(replaced)(inner->source, flow->daddr) + V(replaced)(inner->destination, flow->saddr);
    __u64 change = addresses + replaced(old_ports, new_ports);
    if (protocol == PROTOCOL_UDP && ports->check) {
        __sum16 check = adjusted(ports->check, change);
        check = check ? check : 0xffff;
        change += replaced16(ports->check, check);
        ports->check = check;
    }
    *(__be32 *)ports = new_ports;
    inner->source = flow->daddr;
    inner->destination = flow->saddr;
    __u64 outside = V(replaced)(packet->key.saddr, outer->saddr) + V(replaced)(packet->key.daddr, outer->daddr);
#if FAMILY == 4
    __sum16 check = adjusted(inner->check, addresses);
    change += replaced16(inner->check, check);
    inner->check = check;
    __u64 header = outside;
    if (forwards && hook == COMING) {
        __u16 *word = (__u16 *)&ip->ttl, old = *word;
        ip->ttl -= 1;
        header += replaced16(old, *word);
    }
    ip->check = adjusted(ip->check, header);
#else
    if (forwards && hook == COMING)
        ip->ttl -= 1;
#endif
    ip->source = outer->saddr;
    ip->destination = outer->daddr;
    __u32 field = HEADER + IP_LENGTH + 2;
    bpf_l4_csum_replace(here, field, 0, fold32(change), 0);
#if FAMILY == 6
    if (bpf_l4_csum_replace(here, field, 0, fold32(outside), BPF_F_PSEUDO_HDR | 1 << 7))
        bpf_l4_csum_replace(here, field, 0, fold32(outside), BPF_F_PSEUDO_HDR);
#endif
    if (there)
        return PASS;
    if (forwards)
        return V(leave)(here, work);
    if (hook == LEAVING)
        return here->ifindex == LOOPBACK ? PASS : V(home)(here);
    return flags & FLOW_REPLY ? V(home)(here) : PASS;
}
