"""eBPF in the kernel: bcc compiles the programs, bpf(2) does the rest.

library.py     bpf(2): maps, batches, pins, programs, links
testrun.py     a program run on a given packet
compiler.py    bcc turns bpf/*.c into instructions, in a process of its own
programs.py    compiled programs, cached; loaded with the real maps in place
attach.py      tc, XDP and cgroup attachments: make, list, replace, remove
arrays.py      numpy, or what to install
pins.py        bpffs: where maps and links are pinned
"""
