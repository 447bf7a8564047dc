"""Mode ipvs in the kernel: virtual servers, the dummy device with their addresses, and the ipsets that the
rules ask.

node.py             all of it on one node: observe, apply step by step, undo
messages.py         virtual and real servers as generic netlink messages, and back
read.py             what IPVS holds
timeouts.py         the timeouts of ``ipvsadm --set``
drain.py            until when a draining real server may keep its connections
dummy.py            the device that VIPs are bound to
sources.py          the source address of the node's own connections while another mode takes over
ipset.py            our sets
ipset_messages.py   sets and elements as nfnetlink messages, and back
"""

from .node import IpvsKernel, check, load

__all__ = ["IpvsKernel", "check", "load"]
