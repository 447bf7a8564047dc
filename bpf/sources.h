/* Datagrams that leave with a frontend's address and port as their source: a process of the node has bound that
 * port, or netfilter masquerades a pod so. What comes back is the sender's, not the Service's. Two entries that
 * translate nothing (FLOW_DIRECT) remember that. Included for each family, for tc only. */

/* True if a Service has the address and port that `key` comes from. Leaves the reverse in scratch->reverse. */
INLINE int source_is_frontend(struct packet_scratch *scratch, const struct flow_key *key)
{
    if (!LOOKUP(locals, &key->saddr))
        return 0;
    struct flow_key *reverse = &scratch->reverse;
    reverse->saddr = key->daddr;
    reverse->daddr = key->saddr;
    reverse->sport = key->dport;
    reverse->dport = key->sport;
    reverse->protocol = key->protocol;
    reverse->pad[0] = reverse->pad[1] = reverse->pad[2] = 0;
    return frontend_lookup(scratch, reverse) != NULL;
}

/* Writes both entries for a datagram that leaves and has none, unless a connection of the Service has the
 * answers. */
INLINE void source_remember(struct packet_scratch *scratch, const struct flow_key *key, __u64 now)
{
    if (!source_is_frontend(scratch, key))
        return;
    struct flow *forward = &scratch->forward, *reply = &scratch->reply;
    __builtin_memset(forward, 0, sizeof(*forward));
    __builtin_memset(reply, 0, sizeof(*reply));
    flow_set_mirror(forward, &scratch->reverse);
    flow_set_mirror(reply, key);
    forward->flags = FLOW_DIRECT;
    reply->flags = FLOW_DIRECT | FLOW_REPLY | FLOW_TO_STACK;
    reply->last_seen = forward->last_seen = now;
    if (!LOOKUP(flows, &scratch->reverse) && !UPDATE(brief, &scratch->reverse, reply, BPF_NOEXIST))
        UPDATE(brief, key, forward, BPF_ANY);
}
