"""The node agent: ``kcompile run``. It follows an API server or a directory, and keeps one node's rules true.

record.py    what the agent has done: written by its threads, read by the servers
source.py    what a source of objects does, and where it puts what it reads

Two threads share the work. The event loop's thread runs everything that waits: sources, HTTP servers, timers.
The kernel thread has entered the node's network namespace, compiles and writes; it alone touches the kernel.
"""
