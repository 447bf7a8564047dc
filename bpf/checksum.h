/* The Internet checksum (RFC 1071, 1624) as sums of 16 and 32-bit words, in the packet's own byte order, folded at the end. */
#pragma once

INLINE __u16 fold(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* As the kernel's helpers take a difference: 32 bits. */
INLINE __u32 fold32(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    return (sum & 0xffffffff) + (sum >> 32);
}

/* What replacing a word adds to a sum. */
INLINE __u64 replaced(__u32 old, __u32 new) { return (__u64)(__u32)~old + new; }
INLINE __u64 replaced16(__u16 old, __u16 new) { return (__u64)(__u16)~old + new; }

INLINE __u64 sum_of4(address4 a) { return a; }
INLINE __u64 sum_of6(address6 a) { return (__u64)a.word[0] + a.word[1] + a.word[2] + a.word[3]; }
INLINE __u64 replaced4(address4 old, address4 new) { return replaced(old, new); }
INLINE __u64 replaced6(address6 old, address6 new)
{
    return replaced(old.word[0], new.word[0]) + replaced(old.word[1], new.word[1]) + replaced(old.word[2], new.word[2]) +
           replaced(old.word[3], new.word[3]);
}

/* A checksum field after `sum` was added to what it covers. */
INLINE __sum16 adjusted(__sum16 check, __u64 sum) { return ~fold((__u64)(__u16)~check + sum); }
