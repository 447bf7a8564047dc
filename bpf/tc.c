/* tc, on the way into and out of the interfaces of a node. See docs/adr/0008-xdp-packet-path.md.
 * MAC_LENGTH=0 makes the programs for interfaces whose packets have no Ethernet header. */
#define TC
#include "common.h"
#include "checksum.h"
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

int ingress(struct __sk_buff *skb) { return process_ethertype(skb, HOOK_INGRESS); }

/* Left in skb->cb by egress(), for the egress() of the interface that it redirects the packet to. */
#define SEEN_MARK_3 0x6b636f6d
#define SEEN_MARK_4 0x70696c65

/* Skips packets that a program has processed before: they came in by an interface, or have the marks. */
int egress(struct __sk_buff *skb)
{
    if (skb->ingress_ifindex)
        return ACTION_PASS;
    if (skb->cb[3] == SEEN_MARK_3 && skb->cb[4] == SEEN_MARK_4) {
        skb->cb[3] = skb->cb[4] = 0;
        return ACTION_PASS;
    }
    int action = process_ethertype(skb, HOOK_EGRESS);
    skb->cb[3] = SEEN_MARK_3;
    skb->cb[4] = SEEN_MARK_4;
    return action;
}
