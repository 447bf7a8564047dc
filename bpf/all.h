/* One family's whole way, in the order in which the parts use each other. */
#include "parse.h"
#include "flows.h"
#include "select.h"
#ifdef TC
INLINE int V(too_big)(HERE *here, const struct V(packet) *packet, const struct V(flow) *flow, __u16 mtu, int hook);
#endif
#include "forward.h"
#ifdef TC
#include "reject.h"
#include "icmp.h"
#endif
#include "masquerade.h"
#include "path.h"
