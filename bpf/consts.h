/* Numbers that the programs share with the compiler and the loader. compiler/kcompile/targets/xdp/layout.py
 * repeats them in Python; tests/unit/xdp compares the two. Numbers of protocols are in protocols.h. */
#pragma once

/* The disposition byte of a frontend, one for each class of source: a verdict and flags. */
#define VERDICT_PASS 0x0 /* the Service doesn't handle this source: the packet passes unchanged */
#define VERDICT_DNAT 0x1
#define VERDICT_REJECT 0x2
#define VERDICT_DROP 0x3
#define VERDICT_MASK 0x3
#define POOL_LOCAL 0x4 /* DNAT to the local pool; without it, to the cluster pool */
#define MASQUERADE 0x8

/* frontend.flags */
#define FRONTEND_RANGES 0x1   /* loadBalancerSourceRanges: sources outside of them are dropped */
#define FRONTEND_AFFINITY 0x2 /* sessionAffinity: a client keeps its backend */

/* frontend.kind */
#define KIND_CLUSTER_IP 1
#define KIND_EXTERNAL_IP 2
#define KIND_LOAD_BALANCER 3
#define KIND_NODE_PORT 4
#define KIND_ADDRESS 5 /* port 0, protocol 0: the disposition of ports that no Service has at this address */

/* backend.flags */
#define BACKEND_CLUSTER 0x1  /* in the cluster pool of its Service */
#define BACKEND_LOCAL 0x2    /* in the local pool of its Service */
#define BACKEND_ON_NODE 0x4  /* runs on this node */
#define BACKEND_HAIRPIN 0x8  /* may itself be the client: such connections are masqueraded */
#define BACKEND_SERVING 0x10 /* in no pool, but its UDP flows may stay */

/* local_address.flags */
#define ADDRESS_NODE_PORTS 0x1 /* NodePorts answer at this address */
#define ADDRESS_MASQUERADE 0x2 /* masquerading uses this address as the source */

/* interface.flags */
#define INTERFACE_PODS 0x1 /* packets that come in here are from a pod of this node */
#define INTERFACE_PEER 0x2 /* a veth with its peer in another namespace, which bpf_redirect_peer() reaches */
#define INTERFACE_XDP 0x4  /* can send what an XDP program on another interface redirects to it */

/* flow.flags */
#define FLOW_REPLY 0x1    /* from the backend to the client */
#define FLOW_TO_STACK 0x2 /* the translated packet is for the node itself */
#define FLOW_CLOSING 0x4  /* a FIN was seen in both directions, or an RST in one */
#define FLOW_FIN 0x8      /* a FIN was seen in this direction */
#define FLOW_DIRECT 0x10  /* not translated but for its source port, which a translated connection had */
#define FLOW_PEER 0x20    /* flow.ifindex has INTERFACE_PEER */
#define FLOW_XDP 0x40     /* flow.ifindex has INTERFACE_XDP */
#define FLOW_SEEN 0x80    /* in brief4/6: the backend has answered; of the reply's entry */

#define FLOW_OPENING 0x100 /* of the reply's entry in brief4/6: the other is made when the backend answers */

/* config.flags */
#define CONFIG_PODS_BY_CIDR4 0x1
#define CONFIG_PODS_BY_CIDR6 0x2
#define CONFIG_SOCKET_TCP 0x4
#define CONFIG_SOCKET_UDP 0x8
#define CONFIG_RANDOM 0x10 /* backends are drawn at random, instead of by Maglev hashing */

#define FILTER_CELLS 262144
#define NEXT_HOPS 4096 /* entries of next_hops4 and next_hops6 */

#define SERVICE_CIDRS 4 /* how many config.service_cidrs4 and service_cidrs6 hold */

#define CRC32C_LARGE 128 /* the map crc32c holds twice as many */

/* Keys of the map reasons: packets dropped, rejected or passed, by reason. */
#define REASON_NO_ENDPOINT_REJECTED 0
#define REASON_POLICY_DROPPED 1
#define REASON_SOURCE_RANGE_DROPPED 2
#define REASON_UNALLOCATED_DROPPED 3
#define REASON_UNKNOWN_PORT_REJECTED 4
#define REASON_NO_PORT_DROPPED 5    /* masquerading found no free source port */
#define REASON_NO_ROUTE_DROPPED 6   /* the node has no route to the backend */
#define REASON_FRAGMENT_PASSED 7    /* not of a datagram whose first fragment was translated */
#define REASON_UNSUPPORTED_PASSED 8 /* IP options, extension headers, another protocol */
#define REASON_MALFORMED_PASSED 9
#define REASON_FRAGMENT_DROPPED 10  /* to a Service, before the first of its datagram */
#define REASON_FLOW_RESTORED 11     /* the other direction's entry had fallen out of its map */
#define REASON_FLOW_REMADE 12     /* both entries had fallen out: made again, to the backend that the hash gives */
#define REASONS 16
