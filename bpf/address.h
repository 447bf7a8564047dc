/* IP addresses compared, classified and hashed, for each family. */
#pragma once

INLINE int address_equal4(ip_address4 a, ip_address4 b) { return a == b; }
INLINE int address_equal6(ip_address6 a, ip_address6 b)
{
    return !((a.word[0] ^ b.word[0]) | (a.word[1] ^ b.word[1]) | (a.word[2] ^ b.word[2]) |
             (a.word[3] ^ b.word[3]));
}

INLINE int address_in_cidr4(ip_address4 a, ip_address4 mask, ip_address4 net) { return (a & mask) == net; }
INLINE int address_in_cidr6(ip_address6 a, ip_address6 mask, ip_address6 net)
{
    return !(((a.word[0] & mask.word[0]) ^ net.word[0]) | ((a.word[1] & mask.word[1]) ^ net.word[1]) |
             ((a.word[2] & mask.word[2]) ^ net.word[2]) | ((a.word[3] & mask.word[3]) ^ net.word[3]));
}

/* 0.0.0.0 or :: */
INLINE int address_is_unspecified4(ip_address4 a) { return !a; }
INLINE int address_is_unspecified6(ip_address6 a) { return !(a.word[0] | a.word[1] | a.word[2] | a.word[3]); }

/* True if no host can have the address: "this network", loopback, multicast, reserved and broadcast. */
INLINE int address_is_martian4(ip_address4 a)
{
    __u8 first = a & 0xff;
    return first == IPV4_THIS_NETWORK || first == IN_LOOPBACKNET || first >= IPV4_MULTICAST_MIN;
}
INLINE int address_is_martian6(ip_address6 a)
{
    return (a.word[0] & 0xff) == IPV6_MULTICAST || !(a.word[0] | a.word[1] | a.word[2]);
}

/* ::ffff:a.b.c.d, which stands for an IPv4 address */
INLINE int address_is_ipv4_mapped(ip_address6 a)
{
    return !(a.word[0] | a.word[1] | (a.word[2] ^ NET32(IPV4_MAPPED_WORD)));
}

#define HASH_FACTOR 31

INLINE __u32 address_hash4(ip_address4 a) { return a; }
INLINE __u32 address_hash6(ip_address6 a)
{
    return (a.word[0] * HASH_FACTOR + a.word[1]) * HASH_FACTOR + (a.word[2] * HASH_FACTOR ^ a.word[3]);
}

/* The finalizer of MurmurHash3 (32 bits): every bit of its result depends on every bit of `hash`. */
INLINE __u32 murmur3_fmix32(__u32 hash)
{
    hash ^= hash >> 16;
    hash *= 0x85ebca6b;
    hash ^= hash >> 13;
    hash *= 0xc2b2ae35;
    return hash ^ hash >> 16;
}
