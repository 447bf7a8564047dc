"""The one layer that reads from and writes to the kernel.

Everything here acts on the current network namespace.

netns.py       enter a network namespace by name
nftables.py    libnftables in process: observe, check, apply
iptables.py    iptables-save and iptables-restore, legacy and nft
node.py        resources that every mode has: sysctls and the health check responder
conntrack.py   UDP flows that point at backends which are gone
doctor/        what this node can do, and what stands in the way
facts.py       addresses and name of this node
lock.py        one writer a node
state.py       what `delete` must put back
commit.py      runs the writes so that a kill leaves the old state or the new one
"""
