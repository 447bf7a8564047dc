/* XDP, before tc, on the node's own interfaces: forwards packets from outside to other nodes. All others pass
 * to tc unchanged: packets for this node, packets to reject or to drop, ICMP errors. */
#include "common.h"
#include "checksum.h"
#include "crc32c.h"
#include "filter.h"
#include "family.h"

#define FAMILY 4
#include "all.h"
#undef FAMILY
#define FAMILY 6
#include "all.h"
#undef FAMILY

int xdp(struct xdp_md *frame)
{
    struct ethernet_header *ethernet = DATA(frame);
    if ((void *)(ethernet + 1) > DATA_END(frame))
        return ACTION_PASS;
    if (ethernet->protocol == NET16(ETH_P_IP))
        return process_packet4(frame, HOOK_INGRESS);
    if (ethernet->protocol == NET16(ETH_P_IPV6))
        return process_packet6(frame, HOOK_INGRESS);
    return ACTION_PASS; /* VLANs have interfaces of their own */
}
