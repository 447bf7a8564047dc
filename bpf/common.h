/* What every program starts from: the shared headers, and the two meanings of "here": tc.c sees a socket buffer, xdp.c a frame.
 * TC is defined in the one; HERE is the type of what it is given, PASS says "go on as if I weren't there". */
#pragma once

#include "consts.h"
#include "structs.h"
#include "maps.h"

#define INLINE static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a packet's own order is the other one");
#define NET16(x) ((__be16)__builtin_bswap16(x))
#define NET32(x) ((__be32)__builtin_bswap32(x))

#ifndef MAC_LENGTH
#define MAC_LENGTH 14 /* 0: for interfaces whose packets have no Ethernet header */
#endif

#ifdef TC
#define HERE struct __sk_buff
#define PASS -1 /* TC_ACT_UNSPEC */
#define DROP 2  /* TC_ACT_SHOT */
#else
#define HERE struct xdp_md
#define PASS XDP_PASS
#define DROP XDP_DROP
#endif

/* Where a packet is met. */
#define COMING 0  /* into an interface */
#define LEAVING 1 /* sent by the node itself, on its way out */

#define ETHERNET_IP4 0x0800
#define ETHERNET_IP6 0x86DD
#define PROTOCOL_ICMP4 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_ICMP6 58
#define LOOPBACK 1 /* the index of lo, in every namespace */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define SECOND 1000000000ULL
#define UDP_IDLE (120 * SECOND) /* as nf_conntrack_udp_timeout_stream */

struct ethernet { __u8 destination[6], source[6]; __be16 protocol; };

struct header4 {
    __u8 version, tos; /* version: and header length */
    __be16 length, id, fragment;
    __u8 ttl, protocol;
    __sum16 check;
    address4 source, destination;
};
struct header6 {
    __be32 version; /* and class, and flow label */
    __be16 length;
    __u8 protocol, ttl;
    address6 source, destination;
};
struct tcp {
    __be16 source, destination;
    __be32 sequence, acknowledgement;
    __u8 offset, flags;
    __be16 window;
    __sum16 check;
    __be16 urgent;
};
struct udp { __be16 source, destination, length; __sum16 check; };
struct icmp { __u8 type, code; __sum16 check; __be32 rest; };

/* In assembler, lest clang keep the address of the field, which the verifier doesn't let through. */
#define CONTEXT_POINTER(here, field)                                                              \
    ({                                                                                            \
        void *pointer;                                                                            \
        asm volatile("%0 = *(u32 *)(%1 + %2)"                                                     \
                     : "=r"(pointer)                                                              \
                     : "r"(here), "i"(__builtin_offsetof(HERE, field)));                          \
        pointer;                                                                                  \
    })
#define DATA(here) CONTEXT_POINTER(here, data)
#define DATA_END(here) CONTEXT_POINTER(here, data_end)

/* What parsing finds. */
#define FOUND_TUPLE 0 /* TCP or UDP with its ports */
#define FOUND_ERROR 1 /* an ICMP error: it carries the packet that it is about */
#define FOUND_ECHO 2  /* an ICMP echo request */
#define FOUND_NONE 3  /* nothing for us */

/* What becomes of the first packet of a connection. */
#define BEGIN_PASS 0
#define BEGIN_DROP 1
#define BEGIN_REFUSE 2
#define BEGIN_FLOW 3 /* work->forward is what it becomes */

#define TOO_BIG 100 /* no verdict of the kernel's */

/* TCP and UDP begin with the ports. Their checksum field, from the beginning of the header. */
#define CHECK_OFFSET(protocol) ((protocol) == PROTOCOL_TCP ? 16 : 6)

/* bcc's own declaration lacks an argument. */
static long (*redirect_neigh)(__u32 interface, struct bpf_redir_neigh *hop, int size, __u64 flags) = (void *)BPF_FUNC_redirect_neigh;

INLINE void count_reason(__u32 reason)
{
    __u64 *value = LOOKUP(reasons, &reason);
    if (value)
        *value += 1;
}

INLINE struct scratch *work_space(void)
{
    __u32 zero = 0;
    return LOOKUP(scratch, &zero);
}

INLINE __u32 packet_length(HERE *here)
{
#ifdef TC
    return here->len;
#else
    return here->data_end - here->data;
#endif
}

INLINE __u32 interface_index(HERE *here)
{
#ifdef TC
    return here->ifindex;
#else
    return here->ingress_ifindex;
#endif
}

/* Makes the first `size` bytes readable, if the packet has them: a socket buffer may keep them elsewhere. */
INLINE int reachable(HERE *here, __u32 size)
{
    if (LIKELY(DATA(here) + size <= DATA_END(here)))
        return 1;
#ifdef TC
    if (here->len >= size && !bpf_skb_pull_data(here, size))
        return DATA(here) + size <= DATA_END(here);
#endif
    return 0;
}

INLINE int same4(address4 a, address4 b) { return a == b; }
INLINE int same6(address6 a, address6 b)
{
    return !((a.word[0] ^ b.word[0]) | (a.word[1] ^ b.word[1]) | (a.word[2] ^ b.word[2]) | (a.word[3] ^ b.word[3]));
}
INLINE int masked4(address4 a, address4 mask, address4 net) { return (a & mask) == net; }
INLINE int masked6(address6 a, address6 mask, address6 net)
{
    return !(((a.word[0] & mask.word[0]) ^ net.word[0]) | ((a.word[1] & mask.word[1]) ^ net.word[1]) |
             ((a.word[2] & mask.word[2]) ^ net.word[2]) | ((a.word[3] & mask.word[3]) ^ net.word[3]));
}
INLINE int none4(address4 a) { return !a; }
INLINE int none6(address6 a) { return !(a.word[0] | a.word[1] | a.word[2] | a.word[3]); }

/* The part of an address that hashing uses. */
INLINE __u32 mixed4(address4 a) { return a; }
INLINE __u32 mixed6(address6 a) { return (a.word[0] * 31 + a.word[1]) * 31 + (a.word[2] * 31 ^ a.word[3]); }

/* Finalizer of MurmurHash3. */
INLINE __u32 scrambled(__u32 hash)
{
    hash ^= hash >> 16;
    hash *= 0x85ebca6b;
    hash ^= hash >> 13;
    hash *= 0xc2b2ae35;
    return hash ^ hash >> 16;
}
