"""The kinds that the agent follows: where they are in the API, and which of their objects are asked for.

A proxy's selectors are those of kube-proxy (cmd/kube-proxy/app/server.go). A name server has no selectors.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ...spec.objects import EndpointSlice, Namespace, Node, Object, Service, ServiceCIDR
from ...spec.wellknown import HEADLESS_LABEL, PROXY_NAME_LABEL
from ..source import Kind

__all__ = ["Resource", "name_resources", "resources"]


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One kind. `path` of its collection; `label` and `field`: selectors, empty for none.

    `field_optional`: an older server may refuse the field selector, and everything is asked for then.
    `may_lack`: an older server may not have the kind.
    """

    kind: Kind
    cls: type[Object]
    path: str
    label: str = ""
    field: str = ""
    field_optional: bool = False
    may_lack: bool = False

    @property
    def selectors(self) -> dict[str, str]:
        """The query parameters."""
        given = {"labelSelector": self.label, "fieldSelector": self.field}
        return {name: value for name, value in given.items() if value}

    @property
    def plural(self) -> str:
        return self.path.rpartition("/")[2]


def resources(node: str, *, namespaces: bool = False) -> Iterable[Resource]:
    """What an agent on `node` follows; Namespaces only where asked for."""
    services, slices, cidrs = name_resources()
    yield msgspec.structs.replace(
        services, label=f"!{PROXY_NAME_LABEL}", field="spec.clusterIP!=None", field_optional=True
    )
    yield msgspec.structs.replace(slices, label=f"!{HEADLESS_LABEL},!{PROXY_NAME_LABEL}")
    yield Resource(kind="Node", cls=Node, path="/api/v1/nodes", field=f"metadata.name={node}")
    yield cidrs
    if namespaces:
        yield Resource(kind="Namespace", cls=Namespace, path="/api/v1/namespaces")


def name_resources() -> tuple[Resource, Resource, Resource]:
    """What a name server follows: all Services and EndpointSlices, headless ones too, and ServiceCIDRs."""
    return (
        Resource(kind="Service", cls=Service, path="/api/v1/services"),
        Resource(kind="EndpointSlice", cls=EndpointSlice, path="/apis/discovery.k8s.io/v1/endpointslices"),
        Resource(
            kind="ServiceCIDR", cls=ServiceCIDR, path="/apis/networking.k8s.io/v1/servicecidrs", may_lack=True
        ),
    )
