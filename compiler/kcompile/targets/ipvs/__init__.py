"""Mode ipvs: virtual servers on addresses of a dummy device, ipsets, a constant number of iptables rules.

target.py        the target: a diff that keeps draining servers, text of a resource
resources.py     keys and values: device, sets, virtual and real servers
lower.py         Dataplane -> Program
incremental.py   the same, kept up to date port by port
plans.py         a Policy as pools inside and outside
marks.py         firewall marks of NodePorts and insiders' pools
chains.py        the iptables rules
sticky.py        session affinity: DNAT rules to one virtual server
steps.py         the order of an apply
render.py        steps as text
leaving.py       what stays for open connections when another mode takes over
limits.py        warnings where IPVS can't do what a Service asks for
view.py          Program -> frontends
"""

from .incremental import IncrementalProgram
from .limits import limits
from .target import IpvsTarget

__all__ = ["IncrementalProgram", "IpvsTarget", "limits"]
