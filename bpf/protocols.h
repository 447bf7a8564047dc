/* What stands in a packet: numbers that RFCs made famous, and headers. A number has its name in the system's
 * headers (linux/if_ether.h, netinet/in.h, linux/icmp.h, ...), where it has one. */
#pragma once

/* Ethernet */
#define ETH_ALEN 6
#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD

/* IP */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132
#define IPDEFTTL 64
#define IP_DF 0x4000      /* ip_header4.fragment: don't fragment */
#define IP_MF 0x2000      /* more fragments follow */
#define IPV6_OFFMASK 0xfff8 /* fragment_header.offset, in units of 1 byte */
#define IP_OFFMASK 0x1fff /* where this fragment belongs, in units of 8 bytes */

/* The first byte of IPv4: version 4, and the header's length in words, which is 5 without options. */
#define IPV4_VERSION 0x40
#define IPV4_VERSION_MASK 0xf0
#define IPV4_IHL_MASK 0x0f
#define IPV4_IHL_MIN 5
#define IPV4_VERSION_IHL (IPV4_VERSION | IPV4_IHL_MIN)
/* The first word of IPv6: version 6, traffic class, flow label. */
#define IPV6_VERSION 0x60000000
#define IPV6_VERSION_MASK 0xf0000000

/* The first byte of an address */
#define IPV4_THIS_NETWORK 0     /* 0.0.0.0/8 */
#define IN_LOOPBACKNET 127      /* 127.0.0.0/8 */
#define IPV4_MULTICAST_MIN 224  /* 224.0.0.0/4, and beyond it 240.0.0.0/4 and broadcast */
#define IPV6_MULTICAST 0xff     /* ff00::/8 */
#define IPV4_MAPPED_WORD 0xffff /* ::ffff:0:0/96, its third word: an IPv4 address that an IPv6 socket uses */

/* ICMP */
#define ICMP_DEST_UNREACH 3
#define ICMP_PORT_UNREACH 3 /* a code of ICMP_DEST_UNREACH, as is: */
#define ICMP_FRAG_NEEDED 4
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PORT_UNREACH 4 /* a code of ICMPV6_DEST_UNREACH */
#define ICMPV6_PKT_TOOBIG 2
#define ICMPV6_TIME_EXCEED 3
#define ICMPV6_PARAMPROB 4
#define ICMPV6_ECHO_REQUEST 128

#define ICMP_QUOTE_MIN 8 /* an ICMP error quotes the IP header and at least 8 bytes more: the ports */

/* TCP and UDP */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define FIRST_UNPRIVILEGED_PORT 1024
#define UNPRIVILEGED_PORTS (65536 - FIRST_UNPRIVILEGED_PORT)
#define UDP_CHECKSUM_ZERO 0xffff /* sent for a checksum of 0, since 0 means that there is none (RFC 768) */

struct ethernet_header { __u8 destination[ETH_ALEN], source[ETH_ALEN]; __be16 protocol; };

struct ip_header4 {
    __u8 version, tos; /* version: and the header's length */
    __be16 length, id, fragment;
    __u8 ttl, protocol;
    __sum16 check;
    ip_address4 source, destination;
};

/* Next header and hop limit have their IPv4 names, so that code for both families can use them. */
struct ip_header6 {
    __be32 version; /* and traffic class, and flow label */
    __be16 length;  /* without this header */
    __u8 protocol, ttl;
    ip_address6 source, destination;
};

struct fragment_header { __u8 next, reserved; __be16 offset; __be32 id; }; /* of IPv6 */

struct tcp_header {
    __be16 source, destination;
    __be32 sequence, acknowledgement;
    __u8 offset, flags;
    __be16 window;
    __sum16 check;
    __be16 urgent;
};
struct udp_header { __be16 source, destination, length; __sum16 check; };

/* With the head of its first chunk. The checksum is little-endian; 0: still to be computed, or none (RFC 9653). */
struct sctp_header {
    __be16 source, destination;
    __be32 tag;
    __u32 check;
    __u8 chunk, flags;
    __be16 length;
};
#define SCTP_COMMON_HEADER_LENGTH 12
#define SCTP_INIT 1
#define SCTP_INIT_ACK 2
#define SCTP_ABORT 6
#define SCTP_SHUTDOWN 7
#define SCTP_SHUTDOWN_ACK 8
#define SCTP_SHUTDOWN_COMPLETE 14

struct icmp_header { __u8 type, code; __sum16 check; __be32 rest; };

/* True for protocols with a handshake. */
#define PROTOCOL_IS_STREAM(protocol) ((protocol) == IPPROTO_TCP || (protocol) == IPPROTO_SCTP)

/* TCP, UDP and SCTP begin with the ports. Their checksum field, from the beginning of the header: */
#define L4_CHECKSUM_OFFSET(protocol)                                               \
    ((protocol) == IPPROTO_TCP ? __builtin_offsetof(struct tcp_header, check) \
                               : __builtin_offsetof(struct udp_header, check))
