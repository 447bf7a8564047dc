/* tc, on the way into and out of the interfaces of a node. See docs/adr/0008-xdp-packet-path.md.
 * MAC_LENGTH=0 makes the programs for interfaces whose packets have no Ethernet header. */
#define TC
#include "common.h"
#include "checksum.h"
#include "crc32c.h"
#include "filter.h"
#include "redirect.h"
#include "family.h"

#define FAMILY 4
#include "all.h"
#undef FAMILY
#define FAMILY 6
#include "all.h"
#undef FAMILY

INLINE int process_ethertype(struct __sk_buff *skb, int hook)
{
    if (skb->vlan_present)
        return ACTION_PASS; /* it comes in again by the VLAN's own interface */
    if (skb->protocol == NET16(ETH_P_IP))
        return process_packet4(skb, hook);
    if (skb->protocol == NET16(ETH_P_IPV6))
        return process_packet6(skb, hook);
    return ACTION_PASS;
}

/* Left in skb->cb of what a program has sent on, for the egress() of the interface that it leaves by. */
#define SEEN_MARK_3 0x6b636f6d
#define SEEN_MARK_4 0x70696c65

INLINE void mark_as_seen(struct __sk_buff *skb)
{
    skb->cb[3] = SEEN_MARK_3;
    skb->cb[4] = SEEN_MARK_4;
}

int ingress(struct __sk_buff *skb)
{
    int action = process_ethertype(skb, HOOK_INGRESS);
    if (action == ACTION_REDIRECT)
        mark_as_seen(skb);
    return action;
}

/* Only looks at the source of packets that came in by an interface, and not at all at those with the marks. */
int egress(struct __sk_buff *skb)
{
    if (skb->cb[3] == SEEN_MARK_3 && skb->cb[4] == SEEN_MARK_4) {
        skb->cb[3] = skb->cb[4] = 0;
        return ACTION_PASS;
    }
    if (!skb->ingress_ifindex) {
        int action = process_ethertype(skb, HOOK_EGRESS);
        mark_as_seen(skb);
        return action;
    }
    if (skb->protocol == NET16(ETH_P_IP) && !skb->vlan_present)
        process_forwarded4(skb);
    if (skb->protocol == NET16(ETH_P_IPV6) && !skb->vlan_present)
        process_forwarded6(skb);
    return ACTION_PASS;
}
