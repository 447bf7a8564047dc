/* Sockets of the node: led to a backend when they connect (or, if UDP is asked for, send), so that no packet has to be changed.
 *
 *   connect, sendmsg     frontend -> backend, remembered in `sockets`
 *   recvmsg, getpeername backend -> frontend, as the owner of the socket knows it
 *
 * What needs the client's address for its answer, that isn't known yet (source ranges, affinity), is left to tc; so is every refusal, and
 * a socket with an address of its own that masquerading would replace.
 */
#include "common.h"

INLINE int ours(struct bpf_sock_addr *address)
{
    __u32 zero = 0;
    struct config *config = LOOKUP(config, &zero);
    if (!config || config->netns != bpf_get_netns_cookie(address))
        return 0; /* a pod: tc on its interface */
    return (address->protocol == PROTOCOL_TCP && config->flags & CONFIG_SOCKET_TCP) ||
           (address->protocol == PROTOCOL_UDP && config->flags & CONFIG_SOCKET_UDP);
}

/* Whether the source that the socket is bound to, if any, is what masquerading would make of it. */
INLINE int stays(const struct local_address *local) { return local && local->flags & ADDRESS_MASQUERADE; }

INLINE int source_stays4(struct bpf_sock_addr *address)
{
    struct bpf_sock *socket = address->sk;
    address4 source = socket ? socket->src_ip4 : 0;
    return !source || stays(LOOKUP(locals4, &source));
}

INLINE int source_stays6(struct bpf_sock_addr *address)
{
    struct bpf_sock *socket = address->sk;
    if (!socket)
        return 1;
    address6 source = { { socket->src_ip6[0], socket->src_ip6[1], socket->src_ip6[2], socket->src_ip6[3] } };
    if (none6(source))
        return 1;
    return source.word[2] == NET32(0xffff) ? stays(LOOKUP(locals4, &source.word[3])) : stays(LOOKUP(locals6, &source));
}

/* The backend that a frontend has for a socket of the node, or NULL. */
INLINE struct backend *backend_of(struct bpf_sock_addr *address, const struct frontend *frontend, __u64 cookie, __u32 *index)
{
    if ((frontend->host & VERDICT_MASK) != VERDICT_DNAT || frontend->flags & (FRONTEND_RANGES | FRONTEND_AFFINITY))
        return NULL;
    __u32 number = 2 * frontend->service + (frontend->host & POOL_LOCAL ? 1 : 0);
    struct pool *pool = LOOKUP(pools, &number);
    if (!pool)
        return NULL;
    __u64 chosen = *(__u64 *)pool;
    __u32 first = chosen, size = chosen >> 32;
    if (!size)
        return NULL;
    /* TCP chooses for each connection. A UDP socket stays with its choice, whether it connects or not. */
    __u32 hash = address->protocol == PROTOCOL_TCP ? bpf_get_prandom_u32() : scrambled(scrambled(cookie) + frontend->service);
    __u32 slot = first + (__u32)((__u64)hash * size >> 32);
    __u32 *entry = LOOKUP(slots, &slot);
    if (!entry)
        return NULL;
    *index = *entry;
    return LOOKUP(backends, index);
}

INLINE void remember(__u64 cookie, const struct backend *backend, address6 address, __be16 port, __u32 service)
{
    struct socket_key key = { .cookie = cookie, .address = backend->address, .port = backend->port };
    struct socket_peer peer = { .address = address, .port = port, .service = service };
    UPDATE(sockets, &key, &peer, BPF_ANY);
}

INLINE void count_connection(__u32 index)
{
    struct counter *counter = LOOKUP(counters, &index);
    if (counter)
        counter->connections += 1;
}

INLINE struct frontend *socket_frontend4(address4 destination, __be16 port, __u8 protocol)
{
    struct frontend4_key key = { .address = destination, .port = port, .protocol = protocol };
    struct frontend *frontend = LOOKUP(frontends4, &key);
    if (frontend)
        return frontend;
    struct local_address *local = LOOKUP(locals4, &destination);
    if (!local || !(local->flags & ADDRESS_NODE_PORTS))
        return NULL;
    key.address = 0;
    return LOOKUP(frontends4, &key);
}

INLINE struct frontend *socket_frontend6(address6 destination, __be16 port, __u8 protocol)
{
    struct frontend6_key key = { .address = destination, .port = port, .protocol = protocol };
    struct frontend *frontend = LOOKUP(frontends6, &key);
    if (frontend)
        return frontend;
    struct local_address *local = LOOKUP(locals6, &destination);
    if (!local || !(local->flags & ADDRESS_NODE_PORTS))
        return NULL;
    __builtin_memset(&key.address, 0, sizeof(key.address));
    return LOOKUP(frontends6, &key);
}

INLINE int forth4(struct bpf_sock_addr *address, int connects)
{
    if (!ours(address))
        return 1;
    address4 destination = address->user_ip4;
    __be16 port = address->user_port;
    struct frontend *frontend = socket_frontend4(destination, port, address->protocol);
    if (!frontend || (frontend->host & MASQUERADE && !source_stays4(address)))
        return 1;
    __u64 cookie = bpf_get_socket_cookie(address);
    __u32 index = 0;
    struct backend *backend = backend_of(address, frontend, cookie, &index);
    if (!backend)
        return 1;
    address6 was = { { destination } };
    remember(cookie, backend, was, port, frontend->service);
    if (connects)
        count_connection(index);
    address->user_ip4 = backend->address.word[0];
    address->user_port = backend->port;
    return 1;
}

/* Where an IPv6 socket goes on: an IPv4 address of its own form keeps what marks it. */
INLINE int put6(struct bpf_sock_addr *address, int mapped, const address6 *to, __be16 port)
{
    if (mapped) {
        address->user_ip6[3] = to->word[0];
    } else {
        address->user_ip6[0] = to->word[0];
        address->user_ip6[1] = to->word[1];
        address->user_ip6[2] = to->word[2];
        address->user_ip6[3] = to->word[3];
    }
    address->user_port = port;
    return 1;
}

INLINE int forth6(struct bpf_sock_addr *address, int connects)
{
    if (!ours(address))
        return 1;
    address6 destination = { { address->user_ip6[0], address->user_ip6[1], address->user_ip6[2], address->user_ip6[3] } };
    __be16 port = address->user_port;
    __u8 protocol = address->protocol;
    int mapped = !destination.word[0] && !destination.word[1] && destination.word[2] == NET32(0xffff); /* IPv4 by a v6 socket */
    struct frontend *frontend = mapped ? socket_frontend4(destination.word[3], port, protocol)
                                       : socket_frontend6(destination, port, protocol);
    if (!frontend || (frontend->host & MASQUERADE && !source_stays6(address)))
        return 1;
    __u64 cookie = bpf_get_socket_cookie(address);
    __u32 index = 0;
    struct backend *backend = backend_of(address, frontend, cookie, &index);
    if (!backend)
        return 1;
    address6 was = { { destination.word[3] } };
    remember(cookie, backend, mapped ? was : destination, port, frontend->service);
    if (connects)
        count_connection(index);
    return put6(address, mapped, &backend->address, backend->port);
}

INLINE int back4(struct bpf_sock_addr *address)
{
    if (!ours(address))
        return 1;
    struct socket_key key = { .cookie = bpf_get_socket_cookie(address), .address = { { address->user_ip4 } }, .port = address->user_port };
    struct socket_peer *peer = LOOKUP(sockets, &key);
    if (peer) {
        address->user_ip4 = peer->address.word[0];
        address->user_port = peer->port;
    }
    return 1;
}

INLINE int back6(struct bpf_sock_addr *address)
{
    if (!ours(address))
        return 1;
    address6 source = { { address->user_ip6[0], address->user_ip6[1], address->user_ip6[2], address->user_ip6[3] } };
    int mapped = !source.word[0] && !source.word[1] && source.word[2] == NET32(0xffff);
    struct socket_key key = { .cookie = bpf_get_socket_cookie(address), .address = source, .port = address->user_port };
    if (mapped) {
        address6 short_form = { { source.word[3] } };
        key.address = short_form;
    }
    struct socket_peer *peer = LOOKUP(sockets, &key);
    if (!peer)
        return 1;
    return put6(address, mapped, &peer->address, peer->port);
}

int connect4(struct bpf_sock_addr *address) { return forth4(address, 1); }
int connect6(struct bpf_sock_addr *address) { return forth6(address, 1); }
int sendmsg4(struct bpf_sock_addr *address) { return forth4(address, 0); }
int sendmsg6(struct bpf_sock_addr *address) { return forth6(address, 0); }
int recvmsg4(struct bpf_sock_addr *address) { return back4(address); }
int recvmsg6(struct bpf_sock_addr *address) { return back6(address); }
int getpeername4(struct bpf_sock_addr *address) { return back4(address); }
int getpeername6(struct bpf_sock_addr *address) { return back6(address); }
