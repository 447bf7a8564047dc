/* Ways out of tc that both families share. */
#pragma once

/* To a socket of this node, through lo: its source may be an address of the node, or of a Service. */
INLINE int redirect_to_loopback(packet_context *ctx)
{
#if MAC_LENGTH
    void *macs = DATA(ctx);
    if (macs + 2 * ETH_ALEN > DATA_END(ctx))
        return ACTION_DROP;
    __builtin_memset(macs, 0, 2 * ETH_ALEN);
    return bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
#else
    return ACTION_PASS;
#endif
}

/* Out of an interface, by the kernel's neighbour table. `next_hop`: NULL if the kernel should look it up. */
INLINE int redirect_to_neighbor(packet_context *ctx, __u32 ifindex, struct bpf_redir_neigh *next_hop)
{
#if !MAC_LENGTH
    /* bpf_redirect_neigh() needs a link layer's header. */
    if (bpf_skb_change_head(ctx, sizeof(struct ethernet_header), 0))
        return ACTION_DROP;
#endif
    return redirect_neigh(ifindex, next_hop, next_hop ? sizeof(*next_hop) : 0, 0);
}

/* By the route that a lookup has found. `next_hop`: memory, for its address. */
INLINE int redirect_to_next_hop(packet_context *ctx, const struct bpf_fib_lookup *route,
                                struct bpf_redir_neigh *next_hop)
{
    next_hop->nh_family = route->family;
    __builtin_memcpy(next_hop->ipv6_nh, route->ipv6_dst, sizeof(route->ipv6_dst));
    return redirect_to_neighbor(ctx, route->ifindex, next_hop);
}
