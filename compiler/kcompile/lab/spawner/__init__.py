"""The process that starts the containers of a lab: one a lab, with the standard library alone, small.

loop.py     requests in, ends of processes out, over a socket; all dies with the lab's process
child.py    what a new process does before it is the container's, or one beside it
mounts.py   a container's root: this machine's root under an overlay in memory
linux.py    the system calls that Python 3.11 has no function for

A message is a packet of JSON. The lab's process sends
``{"op": "start"|"exec", "id": N, "container": ID}`` with four descriptors: a memory file with the rest of the
request (see `child`), and the new process's standard streams; and ``{"op": "signal", "id": N, "signal": S}``.
It gets ``{"id": N, "event": "started", "pid": P}``, ``{"id": N, "event": "failed", "error": TEXT}`` and
``{"id": N, "event": "ended", "status": S}``, with S as a shell has it: 128 + n for signal n.
"""
