/* The Internet checksum (RFC 1071, RFC 1624): a sum of 16-bit words in network order. Sums here may be of
 * 32-bit words and grow up to 64 bits; they are folded at the end. */
#pragma once

/* `sum` in 16 bits */
INLINE __u16 checksum_fold(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* `sum` in 32 bits, as bpf_l4_csum_replace() takes a difference */
INLINE __u32 checksum_fold32(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    return (sum & 0xffffffff) + (sum >> 32);
}

/* What a sum changes by if `new` replaces `old`. */
#define CHECKSUM_UNCHANGED32 0xffffffff /* checksum_diff32() of equal words */
INLINE __u64 checksum_diff16(__u16 old, __u16 new) { return (__u64)(__u16)~old + new; }
INLINE __u64 checksum_diff32(__u32 old, __u32 new) { return (__u64)(__u32)~old + new; }
INLINE __u64 checksum_diff_address4(ip_address4 old, ip_address4 new) { return checksum_diff32(old, new); }
INLINE __u64 checksum_diff_address6(ip_address6 old, ip_address6 new)
{
    return checksum_diff32(old.word[0], new.word[0]) + checksum_diff32(old.word[1], new.word[1]) +
           checksum_diff32(old.word[2], new.word[2]) + checksum_diff32(old.word[3], new.word[3]);
}

INLINE __u64 checksum_of_address4(ip_address4 a) { return a; }
INLINE __u64 checksum_of_address6(ip_address6 a)
{
    return (__u64)a.word[0] + a.word[1] + a.word[2] + a.word[3];
}

/* The checksum field `check` after the sum of what it covers has changed by `difference`. */
INLINE __sum16 checksum_adjust(__sum16 check, __u64 difference)
{
    return ~checksum_fold((__u64)(__u16)~check + difference);
}
