/* Keys and values of the maps. Addresses and ports are in network order, as in the packet; all else is in the
 * host's. No padding is left unnamed, so that keys compare by their bytes. Names end in 4 or 6 where the IP
 * version decides the size. */
#pragma once

typedef __be32 ip_address4;
typedef struct { __be32 word[4]; } ip_address6;

/* Address 0 is that of every NodePort. */
struct frontend_key4 { ip_address4 address; __be16 port; __u8 protocol, pad; };
struct frontend_key6 { ip_address6 address; __be16 port; __u8 protocol, pad; };

/* A port of a Service at an address. `pods`, `host`, `others`: the disposition of packets from pods of this
 * node, from the node itself, and from anyone else (VERDICT_*). */
struct frontend {
    __u32 service; /* its pools: 2 * service (cluster) and 2 * service + 1 (local) */
    __u8 pods, host, others, flags;
    __u32 affinity_timeout; /* seconds */
    __u8 kind, pad[3];
};

/* A Maglev table: `size` entries of the map slots, from `first` on. Every member has one at least. */
struct pool { __u32 first, size; };

struct backend {
    ip_address6 address; /* IPv4: its first word */
    __be16 port;
    __u8 family, flags; /* family: 4 or 6 */
    __u32 service;
};

/* A connection is two entries of flows4 or flows6, one for each direction. The key is the packet as it
 * arrives, the value is what it is translated to. Example: the client 10.0.0.5 connects to the Service
 * 10.96.0.10; the node masquerades it as 192.0.2.1 and sends it to the pod 10.244.1.7.
 *
 *             key                                          value
 *             source             -> destination            source                -> destination
 *
 *   forward   10.0.0.5:40000     -> 10.96.0.10:80          192.0.2.1:40000       -> 10.244.1.7:8080
 *             client                frontend               masquerade address       backend
 *
 *   reply     10.244.1.7:8080    -> 192.0.2.1:40000        10.96.0.10:80         -> 10.0.0.5:40000
 *             backend               masquerade address     frontend                 client
 *
 * Forward and reply entries mirror each other: reply.key = reverse(forward.value) and
 * reply.value = reverse(forward.key). So either can be made from the other. Entries that do not mirror are
 * stale. Both are in the map brief4 or brief6 until the connection is established, and again after it has
 * closed: so a flood of connections that come to nothing takes no room from those that are.
 * Without masquerading, the client's address stands for the masquerade address. */
struct flow_key4 { ip_address4 saddr, daddr; __be16 sport, dport; __u8 protocol, pad[3]; };
struct flow_key6 { ip_address6 saddr, daddr; __be16 sport, dport; __u8 protocol, pad[3]; };

struct flow4 {
    ip_address4 saddr, daddr;
    __be16 sport, dport;
    __u32 backend, service;
    __u16 flags;
    __u16 mtu;        /* of the route */
    __u64 last_seen;  /* nanoseconds since boot (CLOCK_MONOTONIC); renewed once a second while packets come */
    __u32 ifindex;    /* the interface of the route, looked up again each second; 0: not known */
    __u8 macs[2 * 6]; /* Ethernet addresses: of the next hop, of the interface */
};
struct flow6 {
    ip_address6 saddr, daddr;
    __be16 sport, dport;
    __u32 backend, service;
    __u16 flags, mtu;
    __u64 last_seen;
    __u32 ifindex;
    __u8 macs[2 * 6];
};

/* The ports in the first fragment of a datagram. `id`: of the IP header (IPv4) or of the fragment header. `fits`:
 * the others go past the stack as it did. */
struct fragment_key4 { ip_address4 saddr, daddr; __be32 id; __u8 protocol, pad[3]; };
struct fragment_key6 { ip_address6 saddr, daddr; __be32 id; __u8 protocol, pad[3]; };
struct fragment { __be16 sport, dport; __u32 fits; __u64 seen; };

/* See filter.h. `complete`: the cells cover every frontend and flow. `settled`: every connection that is older than
 * the programs has its flow, or none of a Service. */
struct filter { __u8 complete, settled, pad[6]; __u8 cells[FILTER_CELLS]; };

/* What a route lookup has found: see next_hop.h. `flags`: FLOW_PEER, FLOW_XDP. `until`: as flow.last_seen. */
struct cached_hop4 {
    ip_address4 source, destination;
    __u32 input, ifindex;
    __u64 until;
    __u16 mtu, flags;
    __u8 macs[2 * 6];
};
struct cached_hop6 {
    ip_address6 source, destination;
    __u32 input, ifindex;
    __u64 until;
    __u16 mtu, flags;
    __u8 macs[2 * 6];
};

/* The backend that a client of a Service with sessionAffinity had last, and when. */
struct affinity_key4 { ip_address4 client; __u32 service; };
struct affinity_key6 { ip_address6 client; __u32 service; };
struct affinity { __u32 backend, pad; __u64 last_seen; };

/* loadBalancerSourceRanges, a longest-prefix match: prefixlen includes the 32 bits of service. The value of
 * an entry is 1. */
struct range_key4 { __u32 prefixlen; __u32 service; ip_address4 address; };
struct range_key6 { __u32 prefixlen; __u32 service; ip_address6 address; };

/* An address of this node. */
struct local_address { __u32 flags; };

/* An interface of this node, by its index, and the source that masquerading through it uses. */
struct interface { __u32 flags; ip_address4 masquerade_address4; ip_address6 masquerade_address6; };

struct config {
    __u32 flags, pad;
    __u64 netns; /* bpf_get_netns_cookie() of the node: socket hooks leave other network namespaces alone */
    ip_address4 pod_cidr4, pod_mask4;
    ip_address6 pod_cidr6, pod_mask6;
    /* Unused ones: address 0, mask all ones. */
    ip_address4 service_cidrs4[SERVICE_CIDRS], service_masks4[SERVICE_CIDRS];
    ip_address6 service_cidrs6[SERVICE_CIDRS], service_masks6[SERVICE_CIDRS];
};

/* Of a backend. `packets` and `bytes` count both directions, bytes from the IP header on. */
struct counter { __u64 connections, packets, bytes; };

/* The Service's name, for `kcompile get` and the next apply: namespace/service:port, padded with zeros. */
struct name { __u8 protocol, family, pad[2]; char text[188]; };

/* A socket of the node that connect() or sendmsg() led to the backend `address`:`port`, and the frontend that
 * its owner believes to be its peer. */
struct socket_key { __u64 cookie; ip_address6 address; __be16 port; __u16 pad; __u32 pad2; };
struct socket_peer { ip_address6 address; __be16 port; __u16 pad; __u32 service; };

/* Memory of a run of a program: struct packet_scratch. */
struct scratch { __u64 words[64]; };
