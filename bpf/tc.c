/* tc, on the way into and out of the interfaces of a node. See docs/adr/0008-xdp-packet-path.md.
 * MAC_LENGTH=0 makes the programs for interfaces whose packets have no Ethernet header. */
#define TC
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

INLINE int either(struct __sk_buff *skb, int hook)
{
    if (skb->vlan_present)
        return PASS; /* it will come in again, by the VLAN's own interface */
    if (skb->protocol == NET16(ETHERNET_IP4))
        return process4(skb, hook);
    if (skb->protocol == NET16(ETHERNET_IP6))
        return process6(skb, hook);
    return PASS;
}

int ingress(struct __sk_buff *skb) { return either(skb, COMING); }

/* What came in somewhere and is forwarded has been seen. So has what the node sent and this program redirected: it meets the program of
 * the interface that it was redirected to, and is known by what this one has put beside it. */
#define SEEN_1 0x6b636f6d
#define SEEN_2 0x70696c65

int egress(struct __sk_buff *skb)
{
    if (skb->ingress_ifindex)
        return PASS;
    if (skb->cb[3] == SEEN_1 && skb->cb[4] == SEEN_2) {
        skb->cb[3] = skb->cb[4] = 0;
        return PASS;
    }
    int verdict = either(skb, LEAVING);
    skb->cb[3] = SEEN_1;
    skb->cb[4] = SEEN_2;
    return verdict;
}
