"""``kcompile run`` beside an API server: what following a cluster costs a node.

__main__.py  start, memory, one change, idle, restart: a table for each mode
churn.py     changes and restarts under traffic
replay.py    the restarts of a hundred nodes
wire.py      bytes of events and lists
objects.py   the cluster's objects
server.py    the API server, a process of its own
place.py     a namespace that is a node, and the folder of its files
process.py   the agent's process, and what it takes
seen.py      the moment that a change is in the kernel, from outside of the agent
change.py    one change after another, each alone
machine.py   where IPVS is
pods.py      Pods that answer, and a client
traffic.py   connections, all the time
rolling.py   a rolling restart
bare.py      the mode's own tool, with the text of the same change
"""
