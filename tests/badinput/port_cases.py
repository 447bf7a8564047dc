"""Wrong ports: an id, the objects, and what the message must hold."""

from __future__ import annotations

from .manifests import SLICE, WEB, ObjectCase, balanced, service, slice_of

__all__ = ["PORTS"]

PORTS: list[ObjectCase] = [
    ("no-ports", [service(ports=[])], (WEB, "spec.ports", "required")),
    ("port-zero", [service(ports=[{"port": 0}])], (WEB, "spec.ports[0].port", "0 is not a port")),
    ("port-negative", [service(ports=[{"port": -1}])], (WEB, "spec.ports[0].port")),
    ("port-too-high", [service(ports=[{"port": 65536}])], (WEB, "spec.ports[0].port", "65536")),
    ("port-huge", [service(ports=[{"port": 10**300}])], (WEB, "spec.ports[0].port")),
    (
        "port-name-missing",
        [service(ports=[{"name": "a", "port": 1}, {"port": 2}])],
        (WEB, "spec.ports[1].name", "required"),
    ),
    (
        "port-name-twice",
        [service(ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}])],
        (WEB, "spec.ports[1].name", '"a"'),
    ),
    ("port-name-bad", [service(ports=[{"name": "a_b", "port": 1}])], (WEB, "spec.ports[0].name", "a_b")),
    (
        "port-twice",
        [service(ports=[{"name": "a", "port": 1}, {"name": "b", "port": 1}])],
        (WEB, "spec.ports[1]:", "1/TCP"),
    ),
    (
        "protocol-unknown",
        [service(ports=[{"port": 1, "protocol": "ICMP"}])],
        (WEB, "spec.ports[0].protocol", "ICMP", "SCTP, TCP, UDP"),
    ),
    (
        "protocol-lower-case",
        [service(ports=[{"port": 1, "protocol": "tcp"}])],
        (WEB, "spec.ports[0].protocol", "tcp"),
    ),
    (
        "target-too-high",
        [service(ports=[{"port": 1, "targetPort": 70000}])],
        (WEB, "spec.ports[0].targetPort", "70000"),
    ),
    (
        "target-name-bad",
        [service(ports=[{"port": 1, "targetPort": "a--b"}])],
        (WEB, "spec.ports[0].targetPort", "a--b"),
    ),
    (
        "target-is-a-number-in-quotes",
        [service(ports=[{"port": 1, "targetPort": "8080"}])],
        (WEB, "spec.ports[0].targetPort", "letter"),
    ),
    (
        "node-port-on-cluster-ip",
        [service(ports=[{"port": 1, "nodePort": 30001}])],
        (WEB, "spec.ports[0].nodePort", "ClusterIP"),
    ),
    (
        "node-port-twice",
        [
            service(
                type="NodePort",
                ports=[{"name": n, "port": p, "nodePort": 30001} for n, p in (("a", 1), ("b", 2))],
            )
        ],
        (WEB, "spec.ports[1].nodePort", "30001/TCP"),
    ),
    (
        "node-port-out-of-range",
        [service(type="NodePort", ports=[{"port": 1, "nodePort": 8080}])],
        (WEB, "nodePort", "30000-32767"),
    ),
    (
        "node-port-of-two-services",
        [service(n, type="NodePort", ports=[{"port": 1, "nodePort": 30001}]) for n in ("web", "api")],
        ("Service demo/api", "spec.ports[0].nodePort", "30001/TCP", WEB),
    ),
    ("slice-port-too-high", [slice_of(ports=({"port": 65536},))], (SLICE, "ports[0].port", "65536")),
    ("slice-port-name-bad", [slice_of(ports=({"name": "A", "port": 1},))], (SLICE, "ports[0].name")),
    ("slice-port-names-twice", [slice_of(ports=({"port": 1}, {"port": 2}))], (SLICE, "ports[1].name")),
    (
        "slice-protocol-unknown",
        [slice_of(ports=({"port": 1, "protocol": "udp"},))],
        (SLICE, "ports[0].protocol", "udp"),
    ),
    (
        "node-port-of-two-ports",
        [
            service(
                type="NodePort",
                ports=[
                    {"name": p, "port": n, "protocol": p.upper(), "nodePort": 30001}
                    for p, n in (("tcp", 1), ("udp", 2))
                ],
            )
        ],
        (WEB, "spec.ports[1].nodePort", "30001", "port 1"),
    ),
    (
        "health-port-on-cluster-policy",
        [balanced(healthCheckNodePort=30900)],
        (WEB, "spec.healthCheckNodePort", "Local"),
    ),
    (
        "health-port-is-a-node-port",
        [
            balanced(
                externalTrafficPolicy="Local",
                healthCheckNodePort=30900,
                ports=[{"port": 1, "nodePort": 30900}],
            )
        ],
        (WEB, "spec.healthCheckNodePort", "30900"),
    ),
    (
        "health-port-of-another-service",
        [
            balanced(externalTrafficPolicy="Local", healthCheckNodePort=30900),
            service("api", type="NodePort", ports=[{"port": 1, "nodePort": 30900}]),
        ],
        ("Service demo/api", "spec.ports[0].nodePort", "30900/TCP", WEB),
    ),
    (
        "health-port-out-of-range",
        [balanced(externalTrafficPolicy="Local", healthCheckNodePort=80)],
        (WEB, "spec.healthCheckNodePort", "80"),
    ),
]
