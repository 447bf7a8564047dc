/* The code of one family, in the order in which its parts use each other. FAMILY is 4 or 6: see family.h. */
#include "parse.h"
#include "flows.h"
#include "select.h"
#include "translate.h"
#ifdef TC
#include "fragments.h"
#endif
#include "next_hop.h"
#include "forward.h"
#ifdef TC
#include "reject.h"
#include "icmp.h"
#endif
#include "masquerade.h"
#ifdef TC
#include "sources.h"
#endif
#include "path.h"
