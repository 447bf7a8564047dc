/* Numbers that the programs, the compiler and the loader share; compiler/kcompile/targets/xdp/layout.py says them again in Python,
 * and tests/bpf compares the two. */
#pragma once

/* A disposition byte (struct frontend): what a class of source gets. */
#define VERDICT_PASS 0x0 /* this Service doesn't touch it */
#define VERDICT_DNAT 0x1
#define VERDICT_REJECT 0x2
#define VERDICT_DROP 0x3
#define VERDICT_MASK 0x3
#define POOL_LOCAL 0x4 /* else the cluster pool */
#define MASQUERADE 0x8

/* frontend.flags */
#define FRONTEND_RANGES 0x1   /* sources outside its ranges are dropped */
#define FRONTEND_AFFINITY 0x2 /* clients stick to a backend */

/* frontend.kind */
#define KIND_CLUSTER_IP 1
#define KIND_EXTERNAL_IP 2
#define KIND_LOAD_BALANCER 3
#define KIND_NODE_PORT 4
#define KIND_ADDRESS 5 /* the address of some frontend, port and protocol zero: what becomes of the ports that it doesn't have */

/* backend.flags */
#define BACKEND_CLUSTER 0x1 /* a member of its Service's cluster pool */
#define BACKEND_LOCAL 0x2   /* a member of its Service's local pool */
#define BACKEND_ON_NODE 0x4 /* runs on this node */
#define BACKEND_HAIRPIN 0x8 /* may be the client itself: then masquerade */
#define BACKEND_SERVING 0x10 /* in no pool, but the UDP flows that it has may stay */

/* local_address.flags */
#define ADDRESS_NODE_PORTS 0x1 /* NodePorts answer here */
#define ADDRESS_MASQUERADE 0x2 /* masquerading puts this one */

/* interface.flags */
#define INTERFACE_PODS 0x1 /* what comes in here is from a pod of this node */
#define INTERFACE_PEER 0x2 /* a veth whose other end is in another namespace: bpf_redirect_peer reaches it */
#define INTERFACE_XDP 0x4  /* sends what an XDP program on another interface redirects to it */

/* flow.flags */
#define FLOW_REPLY 0x1     /* from the backend to the client */
#define FLOW_TO_STACK 0x2  /* after rewriting, this packet belongs to the node itself */
#define FLOW_CLOSING 0x4   /* a FIN was seen in both directions, or an RST in one */
#define FLOW_FIN 0x8       /* a FIN was seen in this direction */
#define FLOW_DIRECT 0x10   /* no Service: a direct connection whose source port was changed, as a translated one had it */
#define FLOW_PEER 0x20     /* `out` is INTERFACE_PEER */
#define FLOW_XDP 0x40      /* `out` is INTERFACE_XDP */

/* config.flags */
#define CONFIG_PODS_BY_CIDR4 0x1
#define CONFIG_PODS_BY_CIDR6 0x2
#define CONFIG_SOCKET_TCP 0x4
#define CONFIG_SOCKET_UDP 0x8
#define CONFIG_RANDOM 0x10 /* backends by chance, not by Maglev hashing */

/* config.service_cidrs4/6: as many as fit */
#define SERVICE_CIDRS 4

/* counters of reasons (map reasons) */
#define REASON_NO_ENDPOINT_REJECTED 0
#define REASON_POLICY_DROPPED 1
#define REASON_SOURCE_RANGE_DROPPED 2
#define REASON_UNALLOCATED_DROPPED 3
#define REASON_UNKNOWN_PORT_REJECTED 4
#define REASON_NO_PORT_DROPPED 5    /* masquerading found no free source port */
#define REASON_NO_ROUTE_DROPPED 6   /* the node has no way to the backend */
#define REASON_FRAGMENT_PASSED 7    /* fragments go to the stack as they are */
#define REASON_UNSUPPORTED_PASSED 8 /* options, extension headers, protocols that are not ours */
#define REASON_MALFORMED_PASSED 9
#define REASONS 16
