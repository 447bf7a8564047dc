"""What kube-proxy has left on a node, in any of its modes: found, named, and removed.

found.py      KubeProxy: all of it together
frontends.py  an address and port that it answers
chains.py     its iptables chains, in both variants
tables.py     its nft tables
servers.py    its IPVS table, device and ipsets
process.py    whether it is running
"""

from .found import KubeProxy, Removed
from .process import Process, running

__all__ = ["KubeProxy", "Process", "Removed", "running"]
