"""The eBPF programs of mode xdp.

tables    what a Program (targets/xdp) says of an address, a source, a pool
programs  what the programs do to a packet, as base chains
"""

from .programs import from_program

__all__ = ["from_program"]
