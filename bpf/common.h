/* What every program starts from: the shared headers, and access to the packet.
 *
 * tc.c defines TC and gets a socket buffer (struct __sk_buff); xdp.c gets a frame (struct xdp_md). Functions
 * for both take either as packet_context *ctx. */
#pragma once

#define INLINE static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Between the host's order and the packet's. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "NET16 and NET32 swap bytes");
#define NET16(x) ((__be16)__builtin_bswap16(x))
#define NET32(x) ((__be32)__builtin_bswap32(x))

#include "consts.h"
#include "structs.h"
#include "maps.h"
#include "protocols.h"
#include "address.h"

#ifndef MAC_LENGTH
#define MAC_LENGTH ETH_HLEN /* 0: for interfaces whose packets have no Ethernet header */
#endif
#define IP_OFFSET MAC_LENGTH

#ifdef TC
typedef struct __sk_buff packet_context;
#define ACTION_PASS (-1)  /* TC_ACT_UNSPEC: to the stack */
#define ACTION_DROP 2     /* TC_ACT_SHOT */
#define ACTION_REDIRECT 7 /* TC_ACT_REDIRECT */
#else
typedef struct xdp_md packet_context;
#define ACTION_PASS XDP_PASS
#define ACTION_DROP XDP_DROP
#endif
#define ACTION_TOO_BIG 100 /* ours alone: the packet exceeds the MTU, the caller sends an ICMP error */

/* `hook`: where the program sees the packet. */
#define HOOK_INGRESS 0 /* it came in by an interface */
#define HOOK_EGRESS 1  /* the node itself sends it */

#define LOOPBACK_IFINDEX 1 /* the index of lo, in every network namespace */

#define NSEC_PER_SEC 1000000000ULL
#define TCP_SYN_TIMEOUT (120 * NSEC_PER_SEC)    /* as nf_conntrack_tcp_timeout_syn_sent */
#define UDP_STREAM_TIMEOUT (120 * NSEC_PER_SEC) /* as nf_conntrack_udp_timeout_stream */

#define BPF_F_IPV6 (1 << 7) /* of bpf_l4_csum_replace(), since Linux 6.16: bcc's headers lack it */

/* In assembler, because clang may otherwise keep the address of the field, which the verifier rejects. */
#define CONTEXT_POINTER(ctx, field)                                           \
    ({                                                                        \
        void *pointer;                                                        \
        asm volatile("%0 = *(u32 *)(%1 + %2)"                                 \
                     : "=r"(pointer)                                          \
                     : "r"(ctx), "i"(__builtin_offsetof(packet_context, field))); \
        pointer;                                                              \
    })
#define DATA(ctx) CONTEXT_POINTER(ctx, data)
#define DATA_END(ctx) CONTEXT_POINTER(ctx, data_end)

/* bpf_redirect_neigh(); bcc's own declaration lacks an argument. */
static long (*redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *next_hop, int size, __u64 flags) =
    (void *)BPF_FUNC_redirect_neigh;

INLINE void count_reason(__u32 reason)
{
    __u64 *packets = LOOKUP(reasons, &reason);
    if (packets)
        *packets += 1;
}

INLINE void count_connection(__u32 backend)
{
    struct counter *counter = LOOKUP(counters, &backend);
    if (counter)
        counter->connections += 1;
}

INLINE struct scratch *scratch_lookup(void)
{
    __u32 zero = 0;
    return LOOKUP(scratch, &zero);
}

INLINE struct config *config_lookup(void)
{
    __u32 zero = 0;
    return LOOKUP(config, &zero);
}

INLINE struct interface *interface_lookup(__u32 ifindex) { return LOOKUP(interfaces, &ifindex); }

INLINE struct backend *backend_lookup(__u32 index) { return LOOKUP(backends, &index); }

/* The cluster or local pool of a Service; size 0 if there is none. Read in one load, because the loader
 * replaces `first` and `size` in one write. */
INLINE struct pool pool_lookup(__u32 service, int local)
{
    __u32 index = 2 * service + local;
    struct pool *found = LOOKUP(pools, &index);
    __u64 both = found ? *(__u64 *)found : 0;
    struct pool pool = { .first = both, .size = both >> 32 };
    return pool;
}

/* The member that `hash` chooses from a pool that isn't empty, and its index. */
INLINE struct backend *pool_member(struct pool pool, __u32 hash, __u32 *index)
{
    __u32 slot = pool.first + (__u32)((__u64)hash * pool.size >> 32);
    __u32 *member = LOOKUP(slots, &slot);
    if (!member)
        return NULL;
    *index = *member;
    return LOOKUP(backends, index);
}

/* In bytes, from the link layer's header on. */
INLINE __u32 packet_length(packet_context *ctx)
{
#ifdef TC
    return ctx->len;
#else
    return ctx->data_end - ctx->data;
#endif
}

/* The interface that the packet came in by, or that the node sends it out of. */
INLINE __u32 packet_ifindex(packet_context *ctx)
{
#ifdef TC
    return ctx->ifindex;
#else
    return ctx->ingress_ifindex;
#endif
}

/* The input interface of a route lookup: what the node itself sends comes in by lo. */
INLINE __u32 route_input(packet_context *ctx, int hook)
{
    return hook == HOOK_EGRESS ? LOOPBACK_IFINDEX : packet_ifindex(ctx);
}

/* True if the packet has `size` bytes, which can then be read at DATA(ctx). A socket buffer may keep some of
 * them elsewhere; they are pulled in, after which older pointers into the packet are invalid. */
INLINE int packet_may_pull(packet_context *ctx, __u32 size)
{
    if (LIKELY(DATA(ctx) + size <= DATA_END(ctx)))
        return 1;
#ifdef TC
    if (ctx->len >= size && !bpf_skb_pull_data(ctx, size))
        return DATA(ctx) + size <= DATA_END(ctx);
#endif
    return 0;
}
