/* Tells in a few loads that no Service has anything to do with a packet: a Bloom filter with one hash, a byte for
 * each of its cells. Those of one address are in one line of a CPU's cache. A cell is set for
 *
 *   SIDE_SERVICE  each frontend (the loader sets it before it writes the frontend), and the destination of every
 *                 connection that was translated, by the address and port that the client sends to
 *   SIDE_BACKEND  the address and port that answers it
 *
 * Cells are only set here; the loader (kernel/bpf/packet_filter.py) makes them anew when many are. Until it has seen every
 * frontend and flow, filter.complete is 0, and nothing is filtered. */
#pragma once

#define SIDE_SERVICE 0x9e3779b9 /* any two odd numbers that differ */
#define SIDE_BACKEND 0x7f4a7c15
#define FILTER_LINE 64
#define FILTER_LINES (FILTER_CELLS / FILTER_LINE)

/* The cell of `port`, in the line of an address with this hash; of a NodePort, which has none, in one of its own. */
INLINE __u32 filter_cell(__u32 address_hash, __be16 port, __u32 side)
{
    __u32 hash = murmur3_fmix32(address_hash ? address_hash : port);
    __u32 place = (port + 1) * side >> 26 ^ hash; /* many addresses have the same ports */
    return (__u64)hash * FILTER_LINES >> 32 << 6 | place % FILTER_LINE;
}
_Static_assert(FILTER_LINE == 1 << 6, "filter_cell");

INLINE struct filter *filter_lookup(void)
{
    __u32 zero = 0;
    return LOOKUP(filter, &zero);
}

INLINE __u32 filter_cell4(ip_address4 address, __be16 port, __u32 side)
{
    return filter_cell(address_hash4(address), port, side);
}
INLINE __u32 filter_cell6(ip_address6 address, __be16 port, __u32 side)
{
    return filter_cell(address_hash6(address), port, side);
}

/* True if the cell is set. */
INLINE int filter_has4(const struct filter *filter, ip_address4 address, __be16 port, __u32 side)
{
    return filter->cells[filter_cell4(address, port, side) % FILTER_CELLS];
}
INLINE int filter_has6(const struct filter *filter, ip_address6 address, __be16 port, __u32 side)
{
    return filter->cells[filter_cell6(address, port, side) % FILTER_CELLS];
}

/* True if a Service may have the address and port, or the port as its NodePort. */
INLINE int filter_has_frontend4(const struct filter *filter, ip_address4 address, __be16 port)
{
    return filter_has4(filter, address, port, SIDE_SERVICE) || filter_has4(filter, 0, port, SIDE_SERVICE);
}
INLINE int filter_has_frontend6(const struct filter *filter, ip_address6 address, __be16 port)
{
    ip_address6 unspecified = { { 0 } };
    return filter_has6(filter, address, port, SIDE_SERVICE) ||
           filter_has6(filter, unspecified, port, SIDE_SERVICE);
}

/* Sets the cells of a connection. */
INLINE void filter_mark(__u8 *cell)
{
    if (!*cell)
        *cell = 1;
}
INLINE void filter_add4(struct filter *filter, ip_address4 address, __be16 port, __u32 side)
{
    filter_mark(&filter->cells[filter_cell4(address, port, side) % FILTER_CELLS]);
}
INLINE void filter_add6(struct filter *filter, ip_address6 address, __be16 port, __u32 side)
{
    filter_mark(&filter->cells[filter_cell6(address, port, side) % FILTER_CELLS]);
}
