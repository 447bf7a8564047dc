/* CRC32c, the checksum of SCTP (RFC 9260, appendix A). It covers the SCTP packet alone, no addresses, and it is
 * linear over GF(2): if some bits of a packet are inverted, its CRC changes (exclusive or) by the CRC of these bits
 * alone, with zeros for the rest. So new ports need no look at what follows them.
 *
 * A CRC is a polynomial of degree 31, modulo P, whose highest bit is x^0. A word of zeros multiplies it by x^32. The
 * map crc32c has the powers (kernel/bpf/crc32c.py): at n x^(32 * n), at CRC32C_LARGE + n x^(32 * CRC32C_LARGE * n). */
#pragma once

#define CRC32C_POLYNOMIAL 0x82f63b78 /* P, without x^32 */

/* value * factor, modulo P. Bits are multiplied by: for the verifier since Linux 6.16, "& -bit" is a branch. */
INLINE __u32 crc32c_multiply(__u32 value, __u32 factor)
{
    __u32 product = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        product ^= value * (factor >> 31);
        factor <<= 1;
        value = value >> 1 ^ CRC32C_POLYNOMIAL * (value & 1);
    }
    return product;
}

/* What the CRC of `words` 32-bit words changes by if the first does by `value`, as a little-endian machine reads it. */
INLINE __u32 crc32c_difference(__u32 value, __u32 words)
{
    __u32 small = words & (CRC32C_LARGE - 1);
    __u32 large = CRC32C_LARGE + (words / CRC32C_LARGE & (CRC32C_LARGE - 1));
    __u32 *first = LOOKUP(crc32c, &small), *second = LOOKUP(crc32c, &large);
    return first && second ? crc32c_multiply(crc32c_multiply(value, *first), *second) : 0;
}
