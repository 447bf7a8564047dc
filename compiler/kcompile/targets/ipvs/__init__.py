"""IPVS: virtual servers behind addresses of a dummy device, ipsets, and a constant number of iptables rules."""

from .target import IpvsTarget

__all__ = ["IpvsTarget"]
