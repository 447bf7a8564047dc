"""The cluster's settings: ranges of Services, pods and NodePorts, and its domain. All verbs take them from
here, so that what one accepts no other refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from ..errors import ConfigError
from ..ir.node import DetectMode
from .addresses import canonical_cidr
from .allocate import DEFAULT_NODE_PORT_RANGE, allocate
from .config import Config, load_config
from .fieldtypes import CidrPair, PortRange, decode_field
from .names import is_cluster_domain
from .objects import Service, ServiceCIDR
from .state import AllocationState
from .text import printable

__all__ = ["DEFAULT_DOMAIN", "ClusterSettings", "Given", "settings_of", "configured"]

DEFAULT_DOMAIN = "cluster.local"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The command line's options about the cluster, as text; None where not given."""

    service_cidrs: str | None = None
    node_port_range: str | None = None
    pod_cidrs: str | None = None
    domain: str | None = None


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the whole cluster.

    `service_cidrs` and `pod_cidrs` are empty where neither options, file nor objects set them; the default is
    then `allocate`'s, and no pod CIDR.
    """

    service_cidrs: tuple[str, ...] = ()
    node_port_range: tuple[int, int] = DEFAULT_NODE_PORT_RANGE
    pod_cidrs: tuple[str, ...] = ()
    domain: str = DEFAULT_DOMAIN

    def allocate(
        self,
        services: Sequence[Service],
        state: AllocationState | None = None,
        *,
        avoid: Collection[str] = (),
    ) -> AllocationState:
        """Fill in the addresses and ports of `services`, which are validated, and return the state to save.

        Raises AllocationError.
        """
        return allocate(
            services,
            state,
            service_cidrs=self.service_cidrs,
            node_port_range=self.node_port_range,
            avoid=avoid,
        )


def configured(path: str | None, given: Given = Given()) -> Config:  # noqa: B008 -- immutable
    """The configuration of the file `path`, or the default one, overridden by `given`. Raises ConfigError."""
    pod_cidrs = tuple(_parsed("--pod-cidr", CidrPair, given.pod_cidrs) or ())
    if path:
        config = load_config(path, pod_cidrs)
    elif pod_cidrs:
        config = Config(detect_mode=DetectMode.CLUSTER_CIDR, detect_cidrs=pod_cidrs, pod_cidrs=pod_cidrs)
    else:
        config = Config()
    changes = {
        "service_cidrs": _parsed("--service-cluster-ip-range", CidrPair, given.service_cidrs),
        "node_port_range": _parsed("--service-node-port-range", PortRange, given.node_port_range),
        "cluster_domain": _domain(given.domain),
    }
    return msgspec.structs.replace(
        config, **{field: value for field, value in changes.items() if value is not None}
    )


def settings_of(config: Config, objects: Iterable[ServiceCIDR] = ()) -> ClusterSettings:
    """The cluster that `config` and the ServiceCIDRs among the input describe."""
    given = (*config.service_cidrs, *(cidr.strip() for each in objects for cidr in each.spec.cidrs))
    low, high = config.node_port_range
    return ClusterSettings(  # of plain values, which can be written to a file
        service_cidrs=tuple(dict.fromkeys(map(canonical_cidr, given))),
        node_port_range=(low, high),
        pod_cidrs=tuple(map(str, config.pod_cidrs)),
        domain=str(config.cluster_domain) or DEFAULT_DOMAIN,
    )


def _parsed(option: str, kind: type, text: str | None) -> Any:
    """The value of an option, None where it isn't given. The type is that of `kind`."""
    if text is None:
        return None
    try:
        return decode_field(kind, text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None


def _domain(text: str | None) -> str | None:
    name = None if text is None else text.strip(".").lower()
    if name is not None and not is_cluster_domain(name):
        raise ConfigError(f"--cluster-domain {printable(str(text))}: not a domain name")
    return name
