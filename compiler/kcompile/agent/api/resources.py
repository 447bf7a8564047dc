"""The kinds that the agent follows: where they are in the API, and which of their objects a proxy asks for.

The selectors are those of kube-proxy (cmd/kube-proxy/app/server.go).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ...spec.objects import EndpointSlice, Namespace, Node, Object, Service, ServiceCIDR
from ...spec.wellknown import HEADLESS_LABEL, PROXY_NAME_LABEL
from ..source import Kind

__all__ = ["Resource", "resources"]


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
    yield Resource(
        kind="Service",
        cls=Service,
        path="/api/v1/services",
        label=f"!{PROXY_NAME_LABEL}",
        field="spec.clusterIP!=None",
        field_optional=True,
    )
    yield Resource(
        kind="EndpointSlice",
        cls=EndpointSlice,
        path="/apis/discovery.k8s.io/v1/endpointslices",
        label=f"!{HEADLESS_LABEL},!{PROXY_NAME_LABEL}",
    )
    yield Resource(kind="Node", cls=Node, path="/api/v1/nodes", field=f"metadata.name={node}")
    yield Resource(
        kind="ServiceCIDR", cls=ServiceCIDR, path="/apis/networking.k8s.io/v1/servicecidrs", may_lack=True
    )
    if namespaces:
        yield Resource(kind="Namespace", cls=Namespace, path="/api/v1/namespaces")
