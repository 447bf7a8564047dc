/* XDP, before tc on the node's own interfaces: what comes from outside and goes to other nodes leaves at once. Everything else goes on to
 * tc as it is: what belongs to this node, first packets that get no for an answer, ICMP errors. */
#include "common.h"
#include "checksum.h"

#define FAMILY 4
#include "family.h"
#include "all.h"
#undef FAMILY
#define FAMILY 6
#include "family.h"
#include "all.h"
#undef FAMILY

int xdp(struct xdp_md *frame)
{
    struct ethernet *ethernet = DATA(frame);
    if ((void *)(ethernet + 1) > DATA_END(frame))
        return PASS;
    if (ethernet->protocol == NET16(ETHERNET_IP4))
        return process4(frame, COMING);
    if (ethernet->protocol == NET16(ETHERNET_IP6))
        return process6(frame, COMING);
    return PASS; /* VLANs have interfaces of their own */
}
