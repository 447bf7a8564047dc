/* Keys and values of the maps. Addresses and ports are in network order, as in the packet; everything else in the host's.
 * No padding is left unnamed, so that a key compares by its bytes. Names end in 4 or 6 where the IP version decides the size. */
#pragma once

typedef __be32 address4;
typedef struct { __be32 word[4]; } address6;

struct frontend4_key { address4 address; __be16 port; __u8 protocol, pad; };                 /* address 0: a NodePort */
struct frontend6_key { address6 address; __be16 port; __u8 protocol, pad; };

/* What listens there: pools 2 * service (cluster) and 2 * service + 1 (local); a disposition for each class of source. */
struct frontend {
    __u32 service;
    __u8 pods, host, others, flags;
    __u32 affinity; /* seconds */
    __u8 kind, pad[3];
};

/* `size` slots from `first` in the map slots: a Maglev table, every member at least once. No backends: size 0. */
struct pool { __u32 first, size; };

struct backend {
    address6 address; /* IPv4: the first */
    __be16 port;
    __u8 family, flags; /* 4 or 6 */
    __u32 service;
};

/* A packet as it arrives. For TCP and UDP. */
struct flow4_key { address4 saddr, daddr; __be16 sport, dport; __u8 protocol, pad[3]; };
struct flow6_key { address6 saddr, daddr; __be16 sport, dport; __u8 protocol, pad[3]; };

/* What such a packet becomes. The entry of the other direction has for its key this one's value turned round, and for its value this
 * one's key turned round: so either can be made from the other, and a pair that doesn't match is no pair. */
struct flow4 {
    address4 saddr, daddr;
    __be16 sport, dport;
    __u32 backend, service;
    __u16 flags;
    __u16 mtu;  /* of the way there */
    __u64 seen; /* nanoseconds since boot (CLOCK_MONOTONIC) of a packet, at most a second old while packets come */
    __u32 out;  /* the interface there, found anew each second; 0: not known */
    __u8 macs[12]; /* destination, source */
};
struct flow6 {
    address6 saddr, daddr;
    __be16 sport, dport;
    __u32 backend, service;
    __u16 flags, mtu;
    __u64 seen;
    __u32 out;
    __u8 macs[12];
};

struct affinity4_key { address4 client; __u32 service; };
struct affinity6_key { address6 client; __u32 service; };
struct affinity { __u32 backend, pad; __u64 seen; };

/* LPM: prefixlen counts the bits of service (32) too. The value is a byte that says 1. */
struct range4_key { __u32 prefixlen; __u32 service; address4 address; };
struct range6_key { __u32 prefixlen; __u32 service; address6 address; };

struct local_address { __u32 flags; };

/* An interface of this node, by its index; what masquerading through it puts as the source. */
struct interface { __u32 flags; address4 address4; address6 address6; };

struct config {
    __u32 flags, pad;
    __u64 netns; /* bpf_get_netns_cookie() of the node: hooks on sockets leave other namespaces alone */
    address4 pods4, pods4_mask;
    address6 pods6, pods6_mask;
    address4 service_cidrs4[SERVICE_CIDRS], service_masks4[SERVICE_CIDRS]; /* unused: address 0, mask all ones */
    address6 service_cidrs6[SERVICE_CIDRS], service_masks6[SERVICE_CIDRS];
};

struct counter { __u64 connections, packets, bytes; };

/* `kcompile get` and the next apply read the Service's name here: namespace/service:port, zero-padded. */
struct name { __u8 protocol, family, pad[2]; char text[188]; };

/* A socket of the node whose connect() was led to a backend: where its owner believes it is connected. */
struct socket_key { __u64 cookie; address6 address; __be16 port; __u16 pad; __u32 pad2; };
struct socket_peer { address6 address; __be16 port; __u16 pad; __u32 service; };

struct scratch { __u64 words[64]; };
