"""The node agent: ``kcompile run``. It follows an API server or a directory, and keeps one node's rules true.

agent.py       one agent: a source, its state, the kernel thread and servers
process.py     an agent as a process: signals, systemd
bell.py        how the two threads speak to each other
options.py     what it is asked for
source.py      what a source of objects does, and where it puts what it reads
api/           a source: an API server's lists and watches
directory/     a source: manifests in files and folders
state.py       the objects of the cluster, and which Services have changed
slim.py        objects reduced to what makes rules
kernel.py      the kernel thread: when to sync, to check, to try again
programmer.py  one sync: compiles and writes what changed, or everything
ownnode.py     the node: configuration, Node, addresses
ports.py       the ports of every Service, kept up to date Service by Service
takeover.py    from kube-proxy's rules to ours
upkeep.py      conntrack entries that changed ports leave behind
ledger.py      when each Service was written
record.py      what the agent has done: written by its threads, read by the servers
serve/         health, health checks of Services, metrics and status over HTTP
log.py         the log: text or JSON, one line a sync
warn.py        warnings in the log
notify.py      what systemd is told

Two threads share the work. The event loop's thread runs everything that waits: sources, HTTP servers, timers.
The kernel thread has entered the node's network namespace, compiles and writes; it alone touches the kernel.
"""
