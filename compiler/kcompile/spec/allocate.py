"""Fills in what a control plane would have: clusterIPs, nodePorts and healthCheckNodePorts.

After pkg/registry/core/service (alloc.go, ipallocator, portallocator). What the input says comes first, what
was allocated before second, new values last. A new value starts from a hash of the Service's key and probes
upwards, so it depends on the others only where two hashes meet; Services are taken in the order of their
keys, so it never depends on the input's order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b

from .addresses import Network, canonical_ip, family_of, network
from .claims import Claims
from .gcpause import gc_paused
from .objects import Service, ServicePort
from .state import AllocationState
from .text import conflict

__all__ = ["DEFAULT_NODE_PORT_RANGE", "DEFAULT_SERVICE_CIDRS", "allocate", "lacks"]

DEFAULT_SERVICE_CIDRS = ("10.96.0.0/12",)  # kubeadm's
DEFAULT_NODE_PORT_RANGE = (30000, 32767)
_SERVICE_CIDRS = "--service-cluster-ip-range"  # the option, for messages


@gc_paused()
def allocate(
    services: Sequence[Service],
    state: AllocationState | None = None,
    *,
    service_cidrs: Sequence[str] = (),
    node_port_range: tuple[int, int] = DEFAULT_NODE_PORT_RANGE,
    avoid: Collection[str] = (),
    claims: Claims | None = None,
) -> AllocationState:
    """Fill in the (validated) `services` in place; return the state to save, which knows these Services only.

    `avoid`: addresses that are not given out anew while there are others, so that a Service made again
    doesn't get its old one back. `claims`: what other Services hold; what these get is added.
    `service_cidrs` empty means kubeadm's default. An explicit clusterIP may lie outside of them; an explicit
    nodePort outside of `node_port_range` (both ends included) is an AllocationError, as are conflicts and a
    range that is used up.
    """
    work = _Allocation(
        state or AllocationState(),
        [network(cidr) for cidr in service_cidrs or DEFAULT_SERVICE_CIDRS],
        node_port_range,
        avoid,
        claims or Claims(),
    )
    work.name(services)
    for service in services:
        if service.spec.type in ("NodePort", "LoadBalancer"):
            work.check_range(service)
        work.claims.take_all(service)
    lacking = sorted((service for service in services if lacks(service)), key=lambda service: service.key)
    for step in (work.keep, work.fill):
        for service in lacking:
            step(service)
    for service in services:
        work.record(service)
    return work.after


def lacks(service: Service) -> bool:
    """True if the Service lacks an address or port that an API server would allocate."""
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip == "None":
        return False
    dual = spec.ip_family_policy not in (None, "SingleStack") or len(spec.ip_families or ()) > 1
    if not spec.cluster_ip or (dual and len(spec.cluster_ips or ()) < 2):
        return True
    if spec.type == "ClusterIP":
        return False
    return _wants_health_port(service) or (
        _wants_node_ports(service) and not all(port.node_port for port in spec.ports)
    )


def _families(service: Service, networks: Sequence[Network]) -> list[int]:
    """The IP families of the Service, the primary one first (initIPFamilyFields in alloc.go)."""
    spec = service.spec
    given = _addresses(service)
    families = [family_of(address) for address in given]
    families += [f for f in (int(name[-1]) for name in spec.ip_families or ()) if f not in families]
    if not families:
        families = [networks[0].version]
    if len(families) == 1 and spec.ip_family_policy in ("PreferDualStack", "RequireDualStack"):
        families.append(10 - families[0])
    if len(given) < 2 <= len(families) and spec.ip_family_policy == "PreferDualStack":
        return [families[0], *(f for f in families[1:] if any(net.version == f for net in networks))]
    return families


def _addresses(service: Service) -> list[str]:
    spec = service.spec
    return spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])


def _port_key(service: Service, port: ServicePort) -> str:
    return f"{service.key}/{port.name}/{port.protocol}"


class _Allocation:
    """One run of the allocator: values in use, values of the earlier state, the new state."""

    def __init__(
        self,
        before: AllocationState,
        networks: list[Network],
        node_ports: tuple[int, int],
        avoid: Collection[str],
        claims: Claims,
    ) -> None:
        self.before, self.networks, self.node_ports, self.avoid = before, networks, node_ports, avoid
        self.after = AllocationState()
        self.claims = claims

    def name(self, services: Sequence[Service]) -> None:
        """Give Services without a name the generated names of the earlier state, in the input's order."""
        unnamed = [service for service in services if service.metadata.generate_name]
        if not unnamed:
            return
        taken = {service.key for service in services}
        for service in unnamed:
            meta = service.metadata
            key = f"{meta.namespace}/{meta.generate_name}"
            names = self.after.generated_names.setdefault(key, [])
            before = self.before.generated_names.get(key, [])[len(names) :][:1]
            if before and f"{meta.namespace}/{before[0]}" not in taken:
                meta.name = before[0]
            names.append(meta.name)

    def check_range(self, service: Service) -> None:
        low, high = self.node_ports
        outside = f"is outside the node port range {low}-{high} (--service-node-port-range)"
        for index, port in enumerate(service.spec.ports):
            if port.node_port and not low <= port.node_port <= high:
                raise conflict(service, f"spec.ports[{index}].nodePort", f"{port.node_port} {outside}")
        health = service.spec.health_check_node_port
        if health and not low <= health <= high:
            raise conflict(service, "spec.healthCheckNodePort", f"{health} {outside}")

    # --- what was allocated before and is still free ---

    def keep(self, service: Service) -> None:
        spec, key = service.spec, service.key
        addresses = _addresses(service)
        before = {family_of(address): address for address in self.before.cluster_ips.get(key, ())}
        for family in _families(service, self.networks)[len(addresses) :]:
            address = before.get(family)
            if (
                address is None
                or address in self.claims.addresses
                or not any(address in net for net in self.networks)
            ):
                break  # a later family can't be placed before this one; `fill` places both
            self._add_address(service, address)
        low, high = self.node_ports
        if _wants_node_ports(service):
            for port in spec.ports:
                number = self.before.node_ports.get(_port_key(service, port), 0)
                if (
                    not port.node_port
                    and low <= number <= high
                    and self._is_free(service, number, port.protocol)
                ):
                    self._set_port(service, port, number)
        if _wants_health_port(service):
            number = self.before.health_check_node_ports.get(key, 0)
            if low <= number <= high and number not in self.claims.port_numbers:
                self._set_health_port(service, number)

    # --- new ones ---

    def fill(self, service: Service) -> None:
        for family in _families(service, self.networks)[len(_addresses(service)) :]:
            self._add_address(service, self._new_address(service, family))
        if _wants_node_ports(service):
            for port in service.spec.ports:
                if not port.node_port:
                    self._set_port(
                        service,
                        port,
                        self._shared_port(service, port) or self._new_port(service, _port_key(service, port)),
                    )
        if _wants_health_port(service):
            self._set_health_port(service, self._new_port(service, f"{service.key} healthCheckNodePort"))

    def record(self, service: Service) -> None:
        """Complete the families and the list forms as the API server does, and note everything in the new
        state.
        """
        spec, key = service.spec, service.key
        if spec.type == "ExternalName":
            return
        if spec.cluster_ip == "None":
            self._complete_headless(service)
            return
        if not spec.cluster_ip:
            return
        if not spec.cluster_ips:
            spec.cluster_ips = [spec.cluster_ip]
        if len(spec.ip_families or ()) != len(spec.cluster_ips):
            spec.ip_families = [f"IPv{family_of(address)}" for address in spec.cluster_ips]
        if spec.ip_family_policy is None:
            spec.ip_family_policy = "SingleStack" if len(spec.cluster_ips) == 1 else "RequireDualStack"
        self.after.cluster_ips[key] = [canonical_ip(address) for address in spec.cluster_ips]
        if spec.type != "ClusterIP":
            self.after.node_ports.update(
                {_port_key(service, port): port.node_port for port in spec.ports if port.node_port}
            )
            if spec.health_check_node_port:
                self.after.health_check_node_ports[key] = spec.health_check_node_port

    def _complete_headless(self, service: Service) -> None:
        """initIPFamilyFields: without a selector it has both families unless it says otherwise, whatever the
        cluster has.

        One with a selector that names no family keeps what its Pods have: nothing here says which families
        their cluster has.
        """
        spec = service.spec
        spec.cluster_ips = ["None"]
        if spec.selector:
            return
        spec.ip_family_policy = spec.ip_family_policy or "RequireDualStack"
        families = spec.ip_families or [f"IPv{self.networks[0].version}"]
        if len(families) == 1 and spec.ip_family_policy != "SingleStack":
            families = [families[0], "IPv6" if families[0] == "IPv4" else "IPv4"]
        spec.ip_families = families

    def _new_address(self, service: Service, family: int) -> str:
        networks = [net for net in self.networks if net.version == family]
        if not networks:
            raise conflict(
                service,
                "spec.clusterIP",
                f"can't be allocated: there is no IPv{family} service CIDR ({_SERVICE_CIDRS})",
            )
        spare = ""
        for net in networks:
            # The network's own address is out, and so are IPv4's broadcast and the first address, which is
            # kubernetes.default's.
            size = net.size - 1 - (family == 4)
            # calculateRangeOffset in ipallocator
            reserved = min(max(16, size // 16), 256) if size >= 16 else 1
            for offset in _probe(f"{service.key} IPv{family}", 2, size, reserved):
                address = net.address(offset)
                if address not in self.claims.addresses:
                    if address not in self.avoid:
                        return address
                    spare = spare or address
        if spare:
            return spare
        raise conflict(
            service,
            "spec.clusterIP",
            f"can't be allocated: {', '.join(map(str, networks))} is used up ({_SERVICE_CIDRS})",
        )

    def _new_port(self, service: Service, key: str) -> int:
        low, high = self.node_ports
        size = high - low + 1
        reserved = min(max(16, size // 32), 128) if size >= 16 else 0  # calculateRangeOffset in portallocator
        for offset in _probe(key, 0, size - 1, reserved - 1):
            if low + offset not in self.claims.port_numbers:
                return low + offset
        raise conflict(
            service, "spec.ports", f"no nodePort is left in {low}-{high} (--service-node-port-range)"
        )

    def _shared_port(self, service: Service, port: ServicePort) -> int:
        """The nodePort of the same port number under another protocol (svcPortToNodePort in alloc.go), 0 if
        there is none.
        """
        for other in service.spec.ports:
            number = other.node_port
            if other.port == port.port and number and (number, port.protocol) not in self.claims.node_ports:
                return number
        return 0

    def _is_free(self, service: Service, number: int, protocol: str) -> bool:
        holders = [self.claims.node_ports.get((number, p)) for p in ("TCP", "UDP", "SCTP")]
        return (number, protocol) not in self.claims.node_ports and all(
            holder in (None, service) for holder in holders
        )

    def _add_address(self, service: Service, address: str) -> None:
        self.claims.take_address(service, address, "spec.clusterIPs")
        addresses = [*_addresses(service), address]
        service.spec.cluster_ip, service.spec.cluster_ips = addresses[0], addresses

    def _set_port(self, service: Service, port: ServicePort, number: int) -> None:
        self.claims.take_port(service, number, port.protocol, "spec.ports")
        port.node_port = number

    def _set_health_port(self, service: Service, number: int) -> None:
        self.claims.take_port(service, number, "TCP", "spec.healthCheckNodePort")
        service.spec.health_check_node_port = number


def _wants_node_ports(service: Service) -> bool:
    spec = service.spec
    return spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    )


def _wants_health_port(service: Service) -> bool:
    spec = service.spec
    return (
        spec.type == "LoadBalancer"
        and spec.external_traffic_policy == "Local"
        and not spec.health_check_node_port
    )


def _probe(key: str, first: int, last: int, reserved: int) -> Iterator[int]:
    """Every number of `first` to `last` in an order that a hash of `key` starts; those above `reserved` come
    first (the lower part is left to explicit values).
    """
    seed = int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
    middle = min(max(first, reserved + 1), last + 1)
    for low, high in ((middle, last + 1), (first, middle)):
        size = high - low
        for step in range(min(size, 1 << 32)):
            yield low + (seed + step) % size
