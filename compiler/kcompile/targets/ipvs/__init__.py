"""Mode ipvs: virtual servers on addresses of a dummy device, ipsets, a constant number of iptables rules."""

from .limits import limits
from .target import IpvsTarget

__all__ = ["IpvsTarget", "limits"]
