"""Mode ipvs in the kernel: virtual servers, the dummy device with the VIPs, and the ipsets that rules match.

node.py             the mode on one node: observe, apply in steps, undo
messages.py         virtual and real servers as generic netlink messages: encode, decode
read.py             the virtual and real servers in the kernel
timeouts.py         IPVS's timeouts (``ipvsadm --set``)
drain.py            deadlines of draining real servers
compare.py          whether the kernel has what it should, at little cost
dummy.py            the dummy device and its addresses
sources.py          the source address of the node's own connections while another mode takes over
ipset.py            our ipsets: observe, change
ipset_messages.py   sets and elements as nfnetlink messages: encode, decode
"""

from .node import IpvsKernel, check, load

__all__ = ["IpvsKernel", "check", "load"]
