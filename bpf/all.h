/* One family's whole way, in the order in which the parts use each other. */
#include "parse.h"
#include "flows.h"
#include "select.h"
#include "forward.h"
#ifdef TC
#include "reject.h"
#include "icmp.h"
#endif
#include "masquerade.h"
#include "path.h"
