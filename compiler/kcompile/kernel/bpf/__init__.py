"""Mode xdp in the kernel: programs that the wheel carries compiled, or bcc compiles; bpf(2) does the rest.

node.py        the mode on one node: observe, check, apply, remove
hooks.py       this build's programs, pinned, and where they are attached
observe.py     maps -> Program, and the numbers of its Services and backends
writer.py      changes -> map entries, in a safe order
single.py      resources that are one map entry each
compare.py     whether the maps have what they should, at little cost
batches.py     the entries of an apply, and the order of writing them
tables.py      writes new Maglev tables
grow.py        larger maps in the place of full ones
numbers.py     allocates numbers and slots
entries.py     a resource as a map entry: encode, decode
flows.py       translated connections: list, remove
packet_filter.py  packets that no Service touches
carry.py       takes over connections from conntrack
programs.py    finds programs in the wheel or the cache, else compiles them; loads them
compiler.py    bcc, in a process of its own
attach.py      tc, XDP and cgroup attachments: make, list, replace, remove
crc32c.py      constants by which SCTP's checksum is adjusted
arrays.py      numpy, or what to install
pins.py        bpffs: pinned maps and links
testrun.py     BPF_PROG_TEST_RUN: runs a program on a packet

library.py     all of bpf(2) that the above use, under one name
syscall.py     the system call, file descriptors, pins
maps.py        maps: create, read, write
links.py       programs and links: load, attach, replace
"""
