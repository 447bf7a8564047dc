"""Why kcompile's own rules refuse a packet, in the words of its Service."""

from __future__ import annotations

from ..errors import InputError
from ..trace.causes import Cause
from .compile import Compiled
from .explain import explain

__all__ = ["why_refused"]


def why_refused(compiled: Compiled, destination: str, port: int, protocol: str) -> Cause:
    """Why kcompile's own rules refuse the packet, in the words of the Service."""
    try:
        found = explain(compiled, f"[{destination}]:{port}")
    except InputError:
        return _no_such_port(compiled, destination, port, protocol)
    own = [item for item in found if item.protocol.lower() == protocol]
    if not own:
        protocols = ", ".join(sorted({item.protocol for item in found}))
        return Cause(f"{found[0].service} answers on this port in {protocols}, not in {protocol.upper()}")
    item = own[0]
    used = [endpoint for endpoint in item.endpoints if endpoint.used]
    if used:
        ranges = [frontend.source_ranges for frontend in item.frontends if frontend.source_ranges]
        if ranges:
            return Cause(
                f"the source is outside of the loadBalancerSourceRanges of {item.service}",
                ", ".join(ranges[0]),
            )
        return Cause(f"{item.service} has policy Local, and no usable endpoint on this node")
    if not item.endpoints:
        return Cause(f"{item.service} has no endpoints: no EndpointSlice or Pod in the input belongs to it")
    why = "; ".join(f"{endpoint.address}: {endpoint.why_not}" for endpoint in item.endpoints[:5])
    return Cause(f"{item.service} has no usable endpoint", why)


def _no_such_port(compiled: Compiled, destination: str, number: int, protocol: str) -> Cause:
    ports = [
        (port.name.partition(":")[0], f"{frontend.port}/{port.protocol.value}")
        for port in compiled.dataplane.ports
        for frontend in port.frontends
        if frontend.address == destination
    ]
    if not ports:
        return Cause(f"no Service has the address {destination}, which is in the range of clusterIPs")
    listed = ", ".join(dict.fromkeys(port for _, port in ports))
    return Cause(f"Service {ports[0][0]} has no port {number}/{protocol.upper()}: it has {listed}")
