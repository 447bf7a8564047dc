"""Machines for tests: a command or a pytest selection under another kernel, without root, without KVM,
without a disk image.

``uml``  User-mode Linux (Debian's user-mode-linux): has IPVS, boots in half a second; no nftables `ip`, `ip6`
or `inet` tables ``tcg``  qemu emulation of Debian's generic kernel: has every mode; boots in ten seconds and
is several times slower

The host's files are there, copy-on-write: what is written is lost with the machine, but for the folders that
were named.

    PYTHONPATH=tests python -m uml -- CMD...         uml/run.py
    pytest ... --machine uml                          plugins/machines.py
"""
