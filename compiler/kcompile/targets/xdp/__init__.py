"""Mode xdp: entries of eBPF maps, and where the programs that read them are attached (docs/adr/0008)."""

from .lower import limits
from .target import XdpTarget

__all__ = ["XdpTarget", "limits"]
