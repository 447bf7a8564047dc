/* Sockets of the node: cgroup hooks lead them to a backend when they connect (for UDP, if asked for, also
 * when they send), so that no packet has to be translated.
 *
 *   connect, sendmsg      frontend -> backend; the map sockets remembers the frontend
 *   recvmsg, getpeername  backend -> frontend, which the owner of the socket knows
 *
 * Left to tc: Services with source ranges or affinity (the source address is unknown at connect()), REJECT
 * and DROP, and sockets bound to an address that masquerading would rewrite.
 */
#include "common.h"
#include "filter.h"

/* What a hook returns: the call goes on, with whatever the hook wrote. */
#define SOCKET_PROCEED 1

/* True for sockets of the node whose protocol is wanted; those of pods meet tc on their interface. */
INLINE int is_node_socket(struct bpf_sock_addr *ctx)
{
    struct config *config = config_lookup();
    if (!config || config->netns != bpf_get_netns_cookie(ctx))
        return 0;
    return (ctx->protocol == IPPROTO_TCP && config->flags & CONFIG_SOCKET_TCP) ||
           (ctx->protocol == IPPROTO_UDP && config->flags & CONFIG_SOCKET_UDP);
}

INLINE int is_masquerade_address(const struct local_address *local)
{
    return local && local->flags & ADDRESS_MASQUERADE;
}

/* True if masquerading would not rewrite the socket's source: it isn't bound, or to a masquerade address. */
INLINE int masquerade_keeps_source4(struct bpf_sock_addr *ctx)
{
    struct bpf_sock *socket = ctx->sk;
    ip_address4 source = socket ? socket->src_ip4 : 0;
    return address_is_unspecified4(source) || is_masquerade_address(LOOKUP(locals4, &source));
}

INLINE int masquerade_keeps_source6(struct bpf_sock_addr *ctx)
{
    struct bpf_sock *socket = ctx->sk;
    if (!socket)
        return 1;
    ip_address6 source = { {
        socket->src_ip6[0],
        socket->src_ip6[1],
        socket->src_ip6[2],
        socket->src_ip6[3],
    } };
    if (address_is_unspecified6(source))
        return 1;
    if (source.word[2] == NET32(IPV4_MAPPED_WORD))
        return is_masquerade_address(LOOKUP(locals4, &source.word[3]));
    return is_masquerade_address(LOOKUP(locals6, &source));
}

/* The backend for a socket of the node, and its index; NULL if the frontend is left to tc. */
INLINE struct backend *socket_backend_select(struct bpf_sock_addr *ctx, const struct frontend *frontend,
                                             __u64 cookie, __u32 *index)
{
    if ((frontend->host & VERDICT_MASK) != VERDICT_DNAT)
        return NULL;
    if (frontend->flags & (FRONTEND_RANGES | FRONTEND_AFFINITY))
        return NULL;
    struct pool pool = pool_lookup(frontend->service, frontend->host & POOL_LOCAL ? 1 : 0);
    if (!pool.size)
        return NULL;
    /* Each TCP connection gets a random backend; a UDP socket has the same one for all it sends. */
    __u32 hash = ctx->protocol == IPPROTO_TCP ? bpf_get_prandom_u32()
                                              : murmur3_fmix32(murmur3_fmix32(cookie) + frontend->service);
    return pool_member(pool, hash, index);
}

/* Remembers the frontend `address`:`port` for the socket that `cookie` names and `backend`. */
INLINE void socket_peer_store(__u64 cookie, const struct backend *backend, ip_address6 address, __be16 port,
                              __u32 service)
{
    struct socket_key key = { .cookie = cookie, .address = backend->address, .port = backend->port };
    struct socket_peer peer = { .address = address, .port = port, .service = service };
    UPDATE(sockets, &key, &peer, BPF_ANY);
}

INLINE struct frontend *socket_frontend_lookup4(ip_address4 destination, __be16 port, __u8 protocol)
{
    struct frontend_key4 key = { .address = destination, .port = port, .protocol = protocol };
    struct frontend *frontend = LOOKUP(frontends4, &key);
    if (frontend)
        return frontend;
    struct local_address *local = LOOKUP(locals4, &destination);
    if (!local || !(local->flags & ADDRESS_NODE_PORTS))
        return NULL;
    key.address = 0;
    return LOOKUP(frontends4, &key);
}

INLINE struct frontend *socket_frontend_lookup6(ip_address6 destination, __be16 port, __u8 protocol)
{
    struct frontend_key6 key = { .address = destination, .port = port, .protocol = protocol };
    struct frontend *frontend = LOOKUP(frontends6, &key);
    if (frontend)
        return frontend;
    struct local_address *local = LOOKUP(locals6, &destination);
    if (!local || !(local->flags & ADDRESS_NODE_PORTS))
        return NULL;
    __builtin_memset(&key.address, 0, sizeof(key.address));
    return LOOKUP(frontends6, &key);
}

/* `connects`: the call is connect(), so a connection is counted. */
INLINE int socket_translate4(struct bpf_sock_addr *ctx, int connects)
{
    if (!is_node_socket(ctx))
        return SOCKET_PROCEED;
    ip_address4 destination = ctx->user_ip4;
    __be16 port = ctx->user_port;
    struct filter *filter = filter_lookup();
    if (filter && filter->complete && !filter_has_frontend4(filter, destination, port))
        return SOCKET_PROCEED;
    struct frontend *frontend = socket_frontend_lookup4(destination, port, ctx->protocol);
    if (!frontend || (frontend->host & MASQUERADE && !masquerade_keeps_source4(ctx)))
        return SOCKET_PROCEED;
    __u64 cookie = bpf_get_socket_cookie(ctx);
    __u32 index = 0;
    struct backend *backend = socket_backend_select(ctx, frontend, cookie, &index);
    if (!backend)
        return SOCKET_PROCEED;
    ip_address6 peer = { { destination } };
    socket_peer_store(cookie, backend, peer, port, frontend->service);
    if (connects)
        count_connection(index);
    ctx->user_ip4 = backend->address.word[0];
    ctx->user_port = backend->port;
    return SOCKET_PROCEED;
}

/* The address that the owner of an IPv6 socket, or the network, has given the call. */
INLINE ip_address6 socket_address6(struct bpf_sock_addr *ctx)
{
    ip_address6 address = { { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] } };
    return address;
}

/* Writes another one. `mapped`: it is an IPv4 address, whose prefix ::ffff:0:0/96 stands there already. */
INLINE int socket_set_address6(struct bpf_sock_addr *ctx, int mapped, const ip_address6 *address, __be16 port)
{
    if (mapped) {
        ctx->user_ip6[3] = address->word[0];
    } else {
        ctx->user_ip6[0] = address->word[0];
        ctx->user_ip6[1] = address->word[1];
        ctx->user_ip6[2] = address->word[2];
        ctx->user_ip6[3] = address->word[3];
    }
    ctx->user_port = port;
    return SOCKET_PROCEED;
}

INLINE int socket_translate6(struct bpf_sock_addr *ctx, int connects)
{
    if (!is_node_socket(ctx))
        return SOCKET_PROCEED;
    ip_address6 destination = socket_address6(ctx);
    __be16 port = ctx->user_port;
    __u8 protocol = ctx->protocol;
    int mapped = address_is_ipv4_mapped(destination); /* an IPv6 socket that speaks IPv4 */
    struct filter *filter = filter_lookup();
    if (filter && filter->complete &&
        !(mapped ? filter_has_frontend4(filter, destination.word[3], port)
                 : filter_has_frontend6(filter, destination, port)))
        return SOCKET_PROCEED;
    struct frontend *frontend = mapped ? socket_frontend_lookup4(destination.word[3], port, protocol)
                                       : socket_frontend_lookup6(destination, port, protocol);
    if (!frontend || (frontend->host & MASQUERADE && !masquerade_keeps_source6(ctx)))
        return SOCKET_PROCEED;
    __u64 cookie = bpf_get_socket_cookie(ctx);
    __u32 index = 0;
    struct backend *backend = socket_backend_select(ctx, frontend, cookie, &index);
    if (!backend)
        return SOCKET_PROCEED;
    ip_address6 peer4 = { { destination.word[3] } };
    socket_peer_store(cookie, backend, mapped ? peer4 : destination, port, frontend->service);
    if (connects)
        count_connection(index);
    return socket_set_address6(ctx, mapped, &backend->address, backend->port);
}

/* Gives the owner of the socket the frontend instead of the backend. */
INLINE int socket_restore4(struct bpf_sock_addr *ctx)
{
    if (!is_node_socket(ctx))
        return SOCKET_PROCEED;
    struct socket_key key = {
        .cookie = bpf_get_socket_cookie(ctx),
        .address = { { ctx->user_ip4 } },
        .port = ctx->user_port,
    };
    struct socket_peer *peer = LOOKUP(sockets, &key);
    if (peer) {
        ctx->user_ip4 = peer->address.word[0];
        ctx->user_port = peer->port;
    }
    return SOCKET_PROCEED;
}

INLINE int socket_restore6(struct bpf_sock_addr *ctx)
{
    if (!is_node_socket(ctx))
        return SOCKET_PROCEED;
    ip_address6 source = socket_address6(ctx);
    int mapped = address_is_ipv4_mapped(source);
    struct socket_key key = {
        .cookie = bpf_get_socket_cookie(ctx),
        .address = source,
        .port = ctx->user_port,
    };
    if (mapped) {
        ip_address6 source4 = { { source.word[3] } };
        key.address = source4;
    }
    struct socket_peer *peer = LOOKUP(sockets, &key);
    if (!peer)
        return SOCKET_PROCEED;
    return socket_set_address6(ctx, mapped, &peer->address, peer->port);
}

int connect4(struct bpf_sock_addr *ctx) { return socket_translate4(ctx, 1); }
int connect6(struct bpf_sock_addr *ctx) { return socket_translate6(ctx, 1); }
int sendmsg4(struct bpf_sock_addr *ctx) { return socket_translate4(ctx, 0); }
int sendmsg6(struct bpf_sock_addr *ctx) { return socket_translate6(ctx, 0); }
int recvmsg4(struct bpf_sock_addr *ctx) { return socket_restore4(ctx); }
int recvmsg6(struct bpf_sock_addr *ctx) { return socket_restore6(ctx); }
int getpeername4(struct bpf_sock_addr *ctx) { return socket_restore4(ctx); }
int getpeername6(struct bpf_sock_addr *ctx) { return socket_restore6(ctx); }
