/* The frontend of a packet, its disposition, and the backend that serves it. Included for each family. */

INLINE struct frontend *frontend_lookup_exact(struct packet_scratch *scratch, ip_address address,
                                              __be16 port, __u8 protocol)
{
    scratch->frontend.address = address;
    scratch->frontend.port = port;
    scratch->frontend.protocol = protocol;
    scratch->frontend.pad = 0;
    return LOOKUP(frontends, &scratch->frontend);
}

/* The frontend at the destination of `key`: the address of a Service or, at an address of the node, a
 * NodePort. NULL if there is none. */
INLINE struct frontend *frontend_lookup(struct packet_scratch *scratch, const struct flow_key *key)
{
    struct frontend *frontend = frontend_lookup_exact(scratch, key->daddr, key->dport, key->protocol);
    if (frontend)
        return frontend;
    struct local_address *local = LOOKUP(locals, &key->daddr);
    if (!local || !(local->flags & ADDRESS_NODE_PORTS))
        return NULL;
    ip_address unspecified = {0};
    return frontend_lookup_exact(scratch, unspecified, key->dport, key->protocol);
}

/* The disposition byte for `source`, which is a pod of this node, the node itself, or anyone else. */
INLINE __u8 frontend_disposition(const struct frontend *frontend, ip_address source, __u32 ifindex, int hook)
{
    struct config *config = config_lookup();
    if (config && config->flags & CONFIG_PODS_BY_CIDR &&
        address_in_cidr(source, config->pod_mask, config->pod_cidr))
        return frontend->pods;
    if (hook == HOOK_EGRESS)
        return frontend->host;
    struct interface *interface = interface_lookup(ifindex);
    return interface && interface->flags & INTERFACE_PODS ? frontend->pods : frontend->others;
}

/* True if `source` is in the Service's loadBalancerSourceRanges. */
INLINE int source_in_ranges(struct packet_scratch *scratch, __u32 service, ip_address source)
{
    scratch->range.prefixlen = 8 * (sizeof(service) + sizeof(source));
    scratch->range.service = service;
    scratch->range.address = source;
    return LOOKUP(ranges, &scratch->range) != NULL;
}

INLINE int address_in_service_cidrs(ip_address address)
{
    struct config *config = config_lookup();
    if (!config)
        return 0;
    int found = 0;
#pragma unroll
    for (int i = 0; i < SERVICE_CIDRS; i++)
        found |= address_in_cidr(address, config->service_masks[i], config->service_cidrs[i]);
    return found;
}

/* The backend that the client has by sessionAffinity, if the pool still has it, and its index; else NULL.
 * Leaves the client's key in scratch->affinity_client, for affinity_store(). */
INLINE struct backend *affinity_lookup(struct packet_scratch *scratch, const struct frontend *frontend,
                                       ip_address client, __u8 pool_flag, __u64 now, __u32 *index)
{
    scratch->affinity_client.client = client;
    scratch->affinity_client.service = frontend->service;
    struct affinity *affinity = LOOKUP(affinity_map, &scratch->affinity_client);
    if (!affinity || now - affinity->last_seen >= frontend->affinity_timeout * NSEC_PER_SEC)
        return NULL;
    *index = affinity->backend;
    struct backend *backend = LOOKUP(backends, index);
    if (!backend || backend->service != frontend->service || !(backend->flags & pool_flag))
        return NULL;
    affinity->last_seen = now;
    return backend;
}

INLINE void affinity_store(struct packet_scratch *scratch, __u32 index, __u64 now)
{
    scratch->affinity.backend = index;
    scratch->affinity.pad = 0;
    scratch->affinity.last_seen = now;
    UPDATE(affinity_map, &scratch->affinity_client, &scratch->affinity, BPF_ANY);
}

/* What chooses the backend of a connection: a hash of addresses, ports and protocol, or a random number. */
INLINE __u32 connection_hash(const struct flow_key *key)
{
    struct config *config = config_lookup();
    if (config && config->flags & CONFIG_RANDOM)
        return bpf_get_prandom_u32();
    __u32 source = murmur3_fmix32(address_hash(key->saddr) + key->protocol);
    __u32 ports = (__u32)key->sport << 16 | key->dport;
    return murmur3_fmix32(source + address_hash(key->daddr) * HASH_FACTOR + ports);
}

/* The backend for a new connection, and its index; NULL if the pool is empty. */
INLINE struct backend *backend_select(struct packet_scratch *scratch, const struct frontend *frontend,
                                      const struct flow_key *key, __u8 disposition, __u64 now, __u32 *index)
{
    int local = disposition & POOL_LOCAL ? 1 : 0;
    if (frontend->flags & FRONTEND_AFFINITY) {
        __u8 pool_flag = local ? BACKEND_LOCAL : BACKEND_CLUSTER;
        struct backend *last = affinity_lookup(scratch, frontend, key->saddr, pool_flag, now, index);
        if (last)
            return last;
    }
    struct pool pool = pool_lookup(frontend->service, local);
    if (!pool.size)
        return NULL;
    struct backend *backend = pool_member(pool, connection_hash(key), index);
    if (backend && frontend->flags & FRONTEND_AFFINITY)
        affinity_store(scratch, *index, now);
    return backend;
}
