"""The one path from manifests to rules on a node.

Every verb, the lab and the library call it; it prints nothing and knows no options.

request.py    what a caller asks: input, node, mode, settings
read.py       manifests and configuration, read and checked                     Request -> Input
cluster.py    what they lack, allocated and filled in                           Input -> Cluster
compile.py    what the cluster asks of one node in one mode                     Cluster -> Compiled
evidence.py   what a node's rules are known to be: read, or confirmed
session.py    a node, locked: what it holds, and the plan to what it should     Compiled -> Plan
commit.py     the writes of a plan, in their order                              Plan -> kernel
apply.py      all of that for an apply, in two halves
remove.py     the same for a removal
basis.py      digests of what a dataplane was made of
edit.py       an edit of a few EndpointSlices: only their Services are compiled
explain.py    what one Service does on a node, and why
trace.py      what becomes of a packet, by manifests or in the kernel
refusals.py   why our rules refuse it, in the words of its Service
expected.py   what the IR promises to each kind of client
verify.py     whether rules keep these promises, packet by packet
progress.py   a callback for each step
"""
