"""The one layer that reads from and writes to the kernel, in the current network namespace.

drivers.py        a driver a mode: observe, check, keep, apply, listing
nftables.py       libnftables in process: observe, check, apply
iptables.py       iptables-save and iptables-restore, legacy and nft
layouts.py        sizes of the tables of iptables-legacy
iptables_nft.py   removes the empty built-in chains that iptables-nft leaves
ipvs/             mode ipvs: virtual servers, dummy device, ipsets
bpf/              mode xdp: maps, programs, attachments
held/             drivers that an agent holds open
node.py           resources that every mode has: sysctls, IPVS timeouts, health check ports
flowtable.py      reads and writes the flowtable of --fast-path
sysctl.py         reads and writes /proc/sys
health.py         starts and stops the health check responder
responder.py      the responder's server

takeover.py       carries connections over to and from mode xdp at a change of mode
departure.py      removes the mode that another one replaced
kubeproxy/        what kube-proxy has left: found, named, removed
conntrack.py      stale UDP flows and unanswered connections
ctnetlink.py      conntrack entries by netlink: list, create, delete
netlink.py        netlink in batches
rules.py          all rules of the namespace, whoever wrote them
watch.py          notifications of links, addresses and rules
netns.py          network namespaces: enter by name, identity, cookie
proc.py           processes and their sockets
facts.py          addresses, interfaces and name of the node

heap.py           gives freed memory back
lock.py           an flock: one writer a node
commit.py         runs an apply's writes in a process that survives the command
child.py          runs a function in a forked process
places.py         the folders of a namespace
kept.py           files of the run directory, valid for one boot and namespace
remember.py       the last dataplane applied
itemized.py       a digest of each object that it was made of
confirmed.py      the kernel's generation after the last apply
generation.py     nf_tables' generation id
state.py          the sysctls and timeouts from before the first apply
doctor/           which modes this node supports, and what disturbs them
"""
