"""IPVS: virtual servers behind addresses of a dummy device, ipsets, and a constant number of iptables rules."""

from .limits import limits
from .target import IpvsTarget

__all__ = ["IpvsTarget", "limits"]
