"""EndpointSlices from an Endpoints object, as pkg/controller/endpointslicemirroring makes them."""

from __future__ import annotations

from .objects import (
    Conditions,
    Endpoint,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    Metadata,
    Service,
)
from .wellknown import HEADLESS_LABEL, LEADER_ANNOTATION, MANAGED_BY_LABEL, SERVICE_LABEL, SKIP_MIRROR_LABEL

__all__ = ["mirror"]


def mirror(endpoints: Endpoints, service: Service) -> list[EndpointSlice]:
    """One slice for each subset and family of an Endpoints object.

    None where the object opts out of mirroring and `service` has no selector. With a selector the object
    comes from a cluster's endpoints controller and replaces the Service's Pods.
    """
    meta = endpoints.metadata
    if LEADER_ANNOTATION in (meta.annotations or {}):
        return []
    if not service.spec.selector and (meta.labels or {}).get(SKIP_MIRROR_LABEL) == "true":
        return []
    labels = {SERVICE_LABEL: service.metadata.name, MANAGED_BY_LABEL: "kcompile"}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS_LABEL] = ""
    slices: list[EndpointSlice] = []
    for subset in endpoints.subsets or ():
        ports = [
            EndpointPort(port=p.port, name=p.name or "", protocol=p.protocol or "TCP")
            for p in subset.ports or ()
        ]
        for family in (4, 6):
            found = [
                _endpoint(a, ready=True) for a in subset.addresses or () if (":" in a.ip) == (family == 6)
            ]
            found += [
                _endpoint(a, ready=False)
                for a in subset.not_ready_addresses or ()
                if (":" in a.ip) == (family == 6)
            ]
            if found:
                name = f"{service.metadata.name}-mirror-ipv{family}-{len(slices) + 1}"
                slices.append(
                    EndpointSlice(
                        metadata=Metadata(name=name, namespace=meta.namespace, labels=dict(labels)),
                        origin=endpoints.origin,
                        address_type=f"IPv{family}",
                        endpoints=found,
                        ports=list(ports),
                    )
                )
    return slices


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[address.ip],
        conditions=Conditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )
