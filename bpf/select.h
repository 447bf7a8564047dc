/* Which frontend a packet is for, what its policy says, which backend serves. Included for each family. */

INLINE struct frontend *V(frontend_at)(struct V(work) *work, V(address) address, __be16 port, __u8 protocol)
{
    work->frontend.address = address;
    work->frontend.port = port;
    work->frontend.protocol = protocol;
    work->frontend.pad = 0;
    return LOOKUP(V(frontends), &work->frontend);
}

/* The frontend of a destination: a Service's address, else a NodePort. */
INLINE struct frontend *V(frontend)(struct V(work) *work, const struct V_KEY(flow) *key)
{
    struct frontend *frontend = V(frontend_at)(work, key->daddr, key->dport, key->protocol);
    if (frontend)
        return frontend;
    struct local_address *local = LOOKUP(V(locals), &key->daddr);
    if (!local || !(local->flags & ADDRESS_NODE_PORTS))
        return NULL;
    V(address) any = {0};
    return V(frontend_at)(work, any, key->dport, key->protocol);
}

/* The disposition byte for the class of `source`: a pod of this node, the node itself, or anyone else. */
INLINE __u8 V(disposition)(const struct frontend *frontend, V(address) source, __u32 interface_index, int hook)
{
    __u32 zero = 0;
    struct config *config = LOOKUP(config, &zero);
    if (config && config->flags & V(CONFIG_PODS_BY_CIDR) && V(masked)(source, config->JOIN(V(pods), _mask), config->V(pods)))
        return frontend->pods;
    if (hook == LEAVING)
        return frontend->host;
    struct interface *interface = LOOKUP(interfaces, &interface_index);
    return interface && interface->flags & INTERFACE_PODS ? frontend->pods : frontend->others;
}

INLINE int V(in_ranges)(struct V(work) *work, __u32 service, V(address) source)
{
    work->range.prefixlen = 32 + 8 * sizeof(source);
    work->range.service = service;
    work->range.address = source;
    return LOOKUP(V(ranges), &work->range) != NULL;
}

INLINE int V(unallocated)(V(address) address)
{
    __u32 zero = 0;
    struct config *config = LOOKUP(config, &zero);
    if (!config)
        return 0;
    int found = 0;
#pragma unroll
    for (int i = 0; i < SERVICE_CIDRS; i++)
        found |= V(masked)(address, config->V(service_masks)[i], config->V(service_cidrs)[i]);
    return found;
}

/* The backend for `key`, its index in *index; NULL without any. Clients of a sticky Service keep theirs while it can serve this pool. */
INLINE struct backend *V(choose)(struct V(work) *work, const struct frontend *frontend, const struct V_KEY(flow) *key, __u8 disposition,
                                 __u64 now, __u32 *index)
{
    __u32 service = frontend->service, local = disposition & POOL_LOCAL ? 1 : 0;
    __u8 member = local ? BACKEND_LOCAL : BACKEND_CLUSTER;
    struct backend *backend;
    if (frontend->flags & FRONTEND_AFFINITY) {
        work->sticky.client = key->saddr;
        work->sticky.service = service;
        struct affinity *affinity = LOOKUP(V(affinity), &work->sticky);
        if (affinity && now - affinity->seen < frontend->affinity * SECOND) {
            *index = affinity->backend;
            backend = LOOKUP(backends, index);
            if (backend && backend->service == service && backend->flags & member) {
                affinity->seen = now;
                return backend;
            }
        }
    }
    __u32 number = 2 * service + local, zero = 0;
    struct pool *pool = LOOKUP(pools, &number);
    if (!pool)
        return NULL;
    __u64 chosen = *(__u64 *)pool; /* first and size at once, as a change replaces both */
    __u32 first = chosen, size = chosen >> 32;
    if (!size)
        return NULL;
    struct config *config = LOOKUP(config, &zero);
    __u32 hash;
    if (config && config->flags & CONFIG_RANDOM)
        hash = bpf_get_prandom_u32();
    else
        hash = scrambled(scrambled(V(mixed)(key->saddr) + key->protocol) + V(mixed)(key->daddr) * 31 +
                         ((__u32)key->sport << 16 | key->dport));
    __u32 slot = first + (__u32)((__u64)hash * size >> 32);
    __u32 *entry = LOOKUP(slots, &slot);
    if (!entry)
        return NULL;
    *index = *entry;
    backend = LOOKUP(backends, index);
    if (backend && frontend->flags & FRONTEND_AFFINITY) {
        work->affinity.backend = *index;
        work->affinity.pad = 0;
        work->affinity.seen = now;
        UPDATE(V(affinity), &work->sticky, &work->affinity, BPF_ANY);
    }
    return backend;
}
