"""Well-formed text, wrong objects: an id, the objects, and what the message must hold."""

from __future__ import annotations

import json
from typing import Any

import yaml

__all__ = ["OBJECTS", "as_json", "as_yaml"]

Manifest = dict[str, Any]
PORT = {"port": 80}


def as_yaml(objects: list[Manifest]) -> bytes:
    return yaml.safe_dump_all(objects).encode()


def as_json(objects: list[Manifest]) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1).encode()


def service(
    name: Any = "web",
    namespace: Any = "demo",
    status: Any = None,
    labels: Any = None,
    annotations: Any = None,
    **spec: Any,
) -> Manifest:
    spec = {"ports": [PORT], **spec}
    meta = {"name": name, "namespace": namespace, "labels": labels or {}, "annotations": annotations or {}}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    return made if status is None else {**made, "status": status}


def balanced(**spec: Any) -> Manifest:
    return service(type="LoadBalancer", **spec)


def slice_of(
    addresses: Any = ("10.244.0.5",),
    ports: Any = ({"port": 8080},),
    family: Any = "IPv4",
    name: str = "web-1",
    **endpoint: Any,
) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "demo", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": family,
        "endpoints": [
            {"addresses": list(addresses) if isinstance(addresses, tuple) else addresses, **endpoint}
        ],
        "ports": list(ports) if isinstance(ports, tuple) else ports,
    }


def other(kind: str, version: str = "v1", name: str = "x", **fields: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "demo"}, **fields}


WEB = "Service demo/web"
SLICE = "EndpointSlice demo/web-1"

_TYPES: list[tuple[str, list[Manifest], tuple[str, ...]]] = [
    ("port-is-a-string", [service(ports=[{"port": "80"}])], ("web", "spec.ports[0].port", "integer", '"80"')),
    ("port-is-a-fraction", [service(ports=[{"port": 80.5}])], ("web", "spec.ports[0].port", "integer")),
    ("port-is-missing", [service(ports=[{"name": "http"}])], ("web", "spec.ports[0].port", "required")),
    ("ports-is-a-mapping", [service(ports={"http": 80})], ("web", "spec.ports", "list")),
    ("port-is-not-a-mapping", [service(ports=[80])], ("web", "spec.ports[0]", "mapping")),
    ("label-is-a-number", [service(labels={"version": 2})], ("web", "metadata.labels.version", "string")),
    ("label-is-a-bool", [service(labels={"enabled": True})], ("web", "metadata.labels.enabled", "string")),
    ("selector-is-a-number", [service(selector={"app": 7})], ("web", "spec.selector.app", "string")),
    ("name-is-a-number", [service(name=7)], ("Service", "metadata.name", "string")),
    ("metadata-is-a-list", [{**service(), "metadata": []}], ("Service", "metadata", "mapping")),
    ("spec-is-missing", [other("Service", name="web")], ("web", "spec", "required")),
    ("kind-is-missing", [{"apiVersion": "v1", "metadata": {"name": "web"}}], ("web", "kind", "required")),
    (
        "version-is-missing",
        [{"kind": "Service", "metadata": {"name": "web"}}],
        ("web", "apiVersion", "required"),
    ),
    ("version-is-unknown", [{**service(), "apiVersion": "v2"}], ("web", "apiVersion", '"v2"')),
    (
        "slice-of-an-old-version",
        [{**slice_of(), "apiVersion": "discovery.k8s.io/v1alpha1"}],
        ("web-1", "apiVersion", "v1alpha1"),
    ),
    (
        "slice-of-another-group",
        [{**slice_of(), "apiVersion": "apps/v1"}],
        ("web-1", "apiVersion", "discovery.k8s.io/v1"),
    ),
    (
        "old-slice-bad",
        [{**slice_of(("x",)), "apiVersion": "discovery.k8s.io/v1beta1"}],
        (SLICE, "endpoints[0].addresses[0]"),
    ),
    (
        "old-template-bad",
        [other("StatefulSet", "apps/v1beta1", spec={"template": {"spec": {"containers": [{"name": "A"}]}}})],
        ("StatefulSet demo/x", "spec.template.spec.containers[0].name"),
    ),
    (
        "job-template-bad",
        [
            other(
                "CronJob",
                "batch/v1beta1",
                spec={"jobTemplate": {"spec": {"template": {"metadata": {"labels": {"a": "-"}}}}}},
            )
        ],
        ("CronJob demo/x", "spec.jobTemplate.spec.template.metadata.labels.a"),
    ),
    (
        "slice-without-a-type",
        [{k: v for k, v in slice_of().items() if k != "addressType"}],
        ("web-1", "addressType", "required"),
    ),
    (
        "ready-is-a-string",
        [slice_of(conditions={"ready": "yes please"})],
        ("web-1", "endpoints[0].conditions.ready", "true or false"),
    ),
    (
        "addresses-is-a-string",
        [slice_of(addresses="10.244.0.5")],
        ("web-1", "endpoints[0].addresses", "list"),
    ),
    ("list-of-numbers", [{"apiVersion": "v1", "kind": "List", "items": [1, 2]}], ("items[0]", "mapping")),
    ("items-is-a-mapping", [{"apiVersion": "v1", "kind": "ServiceList", "items": {}}], ("items", "list")),
]

_NAMES: list[tuple[str, list[Manifest], tuple[str, ...]]] = [
    (
        "name-is-missing",
        [{**service(), "metadata": {"namespace": "demo"}}],
        ("Service", "metadata.name", "required"),
    ),
    ("name-is-empty", [service(name="")], ("Service", "metadata.name", "required")),
    ("name-is-a-shell-command", [service(name="web;reboot")], ("metadata.name", "web;reboot")),
    ("name-is-a-substitution", [service(name="$(reboot)")], ("metadata.name", "$(reboot)")),
    ("name-closes-an-nft-set", [service(name="x } drop")], ("metadata.name", "x } drop")),
    ("name-has-a-quote", [service(name='a"b')], ("metadata.name",)),
    ("name-has-a-line-break", [service(name="web\nCOMMIT")], ("metadata.name", "\\n")),
    ("name-ends-in-a-line-break", [service(name="web\n")], ("metadata.name", "\\n")),
    ("name-has-an-escape", [service(name="web\x1b[31m")], ("metadata.name", "\\u001b")),
    ("name-turns-text-around", [service(name="web\u202egnp")], ("metadata.name", "\\u202e")),
    ("name-is-upper-case", [service(name="Web")], ("metadata.name", "lower-case")),
    (
        "name-starts-with-a-dash",
        [service(name="-web")],
        ("metadata.name", "start and end with a letter or digit"),
    ),
    ("name-is-too-long", [service(name="w" * 64)], ("metadata.name", "63")),
    ("name-is-very-long", [service(name="w" * 100000)], ("metadata.name", "...")),
    ("name-has-a-dot", [service(name="web.demo")], ("metadata.name",)),
    ("namespace-is-a-path", [service(namespace="../demo")], ("metadata.namespace", "../demo")),
    ("namespace-is-upper-case", [service(namespace="Demo")], ("metadata.namespace",)),
    ("label-value-has-a-blank", [service(labels={"app": "a b"})], (WEB, "metadata.labels.app", "a b")),
    ("label-key-is-a-path", [service(labels={"a/b/c": "x"})], (WEB, "metadata.labels", "a/b/c")),
    (
        "selector-value-is-a-rule",
        [service(selector={"app": "-j ACCEPT"})],
        (WEB, "spec.selector.app", "-j ACCEPT"),
    ),
    ("slice-name-is-bad", [slice_of(name="Web_1")], ("Web_1", "metadata.name")),
    ("node-name-is-bad", [slice_of(nodeName="node a")], (SLICE, "endpoints[0].nodeName", "node a")),
    ("zone-is-bad", [slice_of(zone="zone a")], (SLICE, "endpoints[0].zone")),
    (
        "hint-is-bad",
        [slice_of(hints={"forZones": [{"name": "a;b"}]})],
        (SLICE, "endpoints[0].hints.forZones", "a;b"),
    ),
    ("hostname-is-bad", [slice_of(hostname="a.b")], (SLICE, "endpoints[0].hostname")),
    ("same-object-twice", [service(), service(ports=[{"port": 81}])], (WEB, "defined twice", "document 1")),
]

_PORTS: list[tuple[str, list[Manifest], tuple[str, ...]]] = [
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

_ADDRESSES: list[tuple[str, list[Manifest], tuple[str, ...]]] = [
    ("cluster-ip-malformed", [service(clusterIP="10.96.0")], (WEB, "spec.clusterIP", "10.96.0")),
    ("cluster-ip-octal", [service(clusterIP="010.96.0.1")], (WEB, "spec.clusterIP")),
    ("cluster-ip-with-a-rule", [service(clusterIP="10.96.0.1 accept")], (WEB, "spec.clusterIP")),
    ("cluster-ip-with-a-zone", [service(clusterIP="fe80::1%eth0")], (WEB, "spec.clusterIP")),
    ("cluster-ip-loopback", [service(clusterIP="127.0.0.1")], (WEB, "spec.clusterIP", "loopback")),
    ("cluster-ip-unspecified", [service(clusterIP="0.0.0.0")], (WEB, "spec.clusterIP", "unspecified")),
    ("cluster-ip-multicast", [service(clusterIP="ff02::1")], (WEB, "spec.clusterIP", "multicast")),
    ("cluster-ip-mapped", [service(clusterIP="::ffff:10.96.0.1")], (WEB, "spec.clusterIP", "IPv4-mapped")),
    (
        "cluster-ips-disagree",
        [service(clusterIP="10.96.0.1", clusterIPs=["10.96.0.2"])],
        (WEB, "spec.clusterIPs:", "10.96.0.1"),
    ),
    (
        "cluster-ips-without-cluster-ip",
        [service(clusterIPs=["10.96.0.2"])],
        (WEB, "spec.clusterIPs:", "clusterIP is not set"),
    ),
    (
        "cluster-ips-one-family",
        [service(clusterIP="10.96.0.1", clusterIPs=["10.96.0.1", "10.96.0.2"])],
        (WEB, "spec.clusterIPs", "family"),
    ),
    (
        "cluster-ips-three",
        [service(clusterIP="10.96.0.1", clusterIPs=["10.96.0.1", "fd00::1", "fd00::2"])],
        (WEB, "spec.clusterIPs", "two"),
    ),
    (
        "cluster-ip-of-two-services",
        [service(clusterIP="fd00:10:96::1"), service("api", clusterIP="FD00:10:96:0::1")],
        ("Service demo/api", "spec.clusterIP", WEB),
    ),
    (
        "two-families-without-a-policy",
        [service(ipFamilies=["IPv4", "IPv6"])],
        (WEB, "spec.ipFamilyPolicy", "RequireDualStack"),
    ),
    (
        "families-disagree",
        [service(clusterIP="10.96.0.1", ipFamilies=["IPv6"])],
        (WEB, "spec.clusterIPs[0]", "IPv6"),
    ),
    ("family-unknown", [service(ipFamilies=["IPv5"])], (WEB, "spec.ipFamilies[0]", "IPv5")),
    ("family-twice", [service(ipFamilies=["IPv4", "IPv4"])], (WEB, "spec.ipFamilies[1]", "twice")),
    ("family-without-a-range", [service(ipFamilies=["IPv6"])], (WEB, "spec.clusterIP", "IPv6")),
    (
        "family-policy-unknown",
        [service(ipFamilyPolicy="DualStack")],
        (WEB, "spec.ipFamilyPolicy", "DualStack"),
    ),
    (
        "single-stack-of-two",
        [service(ipFamilyPolicy="SingleStack", ipFamilies=["IPv4", "IPv6"])],
        (WEB, "spec.ipFamilyPolicy", "PreferDualStack"),
    ),
    ("headless-node-port", [service(type="NodePort", clusterIP="None")], (WEB, "spec.clusterIP", "NodePort")),
    (
        "external-ip-malformed",
        [service(externalIPs=["198.18.0.1", "example.com"])],
        (WEB, "spec.externalIPs[1]", "example.com"),
    ),
    ("external-ip-loopback", [service(externalIPs=["::1"])], (WEB, "spec.externalIPs[0]", "loopback")),
    (
        "external-ip-link-local",
        [service(externalIPs=["169.254.169.254"])],
        (WEB, "spec.externalIPs[0]", "link-local"),
    ),
    (
        "ingress-ip-malformed",
        [balanced(status={"loadBalancer": {"ingress": [{"ip": "x"}]}})],
        (WEB, "status.loadBalancer.ingress[0].ip"),
    ),
    (
        "ingress-ip-loopback",
        [balanced(status={"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}})],
        (WEB, "ingress[0].ip", "loopback"),
    ),
    (
        "ingress-mode-unknown",
        [balanced(status={"loadBalancer": {"ingress": [{"ip": "198.18.0.1", "ipMode": "vip"}]}})],
        (WEB, "status.loadBalancer.ingress[0].ipMode", "vip"),
    ),
    (
        "range-malformed",
        [balanced(loadBalancerSourceRanges=["10.0.0.0"])],
        (WEB, "spec.loadBalancerSourceRanges[0]", "10.0.0.0"),
    ),
    (
        "range-too-long",
        [balanced(loadBalancerSourceRanges=["10.0.0.0/8", "10.0.0.0/33"])],
        (WEB, "spec.loadBalancerSourceRanges[1]", "32"),
    ),
    (
        "range-with-host-bits",
        [balanced(loadBalancerSourceRanges=["10.0.0.1/8"])],
        (WEB, "spec.loadBalancerSourceRanges[0]", "write 10.0.0.0/8"),
    ),
    (
        "range-with-a-rule",
        [balanced(loadBalancerSourceRanges=["10.0.0.0/8 -j ACCEPT"])],
        (WEB, "spec.loadBalancerSourceRanges[0]"),
    ),
    (
        "range-on-node-port",
        [service(type="NodePort", loadBalancerSourceRanges=["10.0.0.0/8"])],
        (WEB, "loadBalancerSourceRanges", "NodePort"),
    ),
    (
        "ipv4-in-an-ipv6-slice",
        [slice_of(family="IPv6")],
        (SLICE, "endpoints[0].addresses[0]", "10.244.0.5", "IPv6"),
    ),
    ("ipv6-in-an-ipv4-slice", [slice_of(("fd00::1",))], (SLICE, "endpoints[0].addresses[0]", "fd00::1")),
    (
        "address-malformed",
        [slice_of(("10.244.0.256",))],
        (SLICE, "endpoints[0].addresses[0]", "10.244.0.256"),
    ),
    ("address-loopback", [slice_of(("127.0.0.1",))], (SLICE, "endpoints[0].addresses[0]", "loopback")),
    (
        "address-link-local",
        [slice_of(("fe80::1",), family="IPv6")],
        (SLICE, "endpoints[0].addresses[0]", "link-local"),
    ),
    ("address-missing", [slice_of(())], (SLICE, "endpoints[0].addresses", "required")),
    (
        "addresses-too-many",
        [slice_of(tuple(f"10.244.1.{i}" for i in range(101)))],
        (SLICE, "endpoints[0].addresses", "100 at most"),
    ),
    (
        "endpoints-too-many",
        [{**slice_of(), "endpoints": [{"addresses": ["10.244.0.5"]}] * 1001}],
        (SLICE, "endpoints:", "1,001", "1,000"),
    ),
    (
        "name-is-no-domain",
        [slice_of(("a_b.example",), family="FQDN")],
        (SLICE, "endpoints[0].addresses[0]", "a_b.example"),
    ),
    (
        "too-many-hints",
        [slice_of(hints={"forZones": [{"name": "a"}] * 9})],
        (SLICE, "endpoints[0].hints.forZones", "8 at most"),
    ),
    ("address-second-bad", [slice_of(("10.244.0.5", ""))], (SLICE, "endpoints[0].addresses[1]")),
    ("address-type-unknown", [slice_of(family="ipv4")], (SLICE, "addressType", "ipv4")),
    (
        "endpoints-address-bad",
        [
            other(
                "Endpoints",
                subsets=[
                    {"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "::"}], "ports": [PORT]}
                ],
            )
        ],
        ("Endpoints demo/x", "subsets[0].notReadyAddresses[0].ip", "unspecified"),
    ),
    (
        "endpoints-without-addresses",
        [other("Endpoints", subsets=[{"ports": [PORT]}])],
        ("Endpoints demo/x", "subsets[0]:", "required"),
    ),
    (
        "endpoints-port-bad",
        [other("Endpoints", subsets=[{"ports": [{"port": 0}]}])],
        ("Endpoints demo/x", "subsets[0].ports[0].port"),
    ),
]

_CHOICES: list[tuple[str, list[Manifest], tuple[str, ...]]] = [
    ("type-unknown", [service(type="Clusterip")], (WEB, "spec.type", "Clusterip", "ExternalName")),
    ("affinity-unknown", [service(sessionAffinity="Cookie")], (WEB, "spec.sessionAffinity", "Cookie")),
    (
        "affinity-too-long",
        [service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}})],
        (WEB, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "86401"),
    ),
    (
        "affinity-of-no-time",
        [service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}})],
        (WEB, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "0 is not in"),
    ),
    (
        "external-policy-unknown",
        [service(type="NodePort", externalTrafficPolicy="local")],
        (WEB, "spec.externalTrafficPolicy", "local"),
    ),
    (
        "external-policy-on-cluster-ip",
        [service(externalTrafficPolicy="Local")],
        (WEB, "spec.externalTrafficPolicy", "externalIPs"),
    ),
    (
        "internal-policy-unknown",
        [service(internalTrafficPolicy="Node")],
        (WEB, "spec.internalTrafficPolicy", "Node"),
    ),
    (
        "distribution-unknown",
        [service(trafficDistribution="Near")],
        (WEB, "spec.trafficDistribution", "Near"),
    ),
    ("external-name-missing", [service(type="ExternalName")], (WEB, "spec.externalName", "required")),
    (
        "external-name-bad",
        [service(type="ExternalName", externalName="a b")],
        (WEB, "spec.externalName", "a b"),
    ),
    (
        "external-name-with-an-address",
        [service(type="ExternalName", externalName="a.b", clusterIP="10.96.0.1")],
        (WEB, "spec.clusterIP"),
    ),
    ("class-bad", [balanced(loadBalancerClass="a/b/c")], (WEB, "spec.loadBalancerClass", "a/b/c")),
    ("kubelet-exposed", [balanced(ports=[{"port": 10250}])], (WEB, "spec.ports[0].port", "kubelet")),
    (
        "app-protocol-bad",
        [service(ports=[{"port": 1, "appProtocol": "a b"}])],
        (WEB, "spec.ports[0].appProtocol", "a b"),
    ),
    (
        "slice-app-protocol-bad",
        [slice_of(ports=({"port": 1, "appProtocol": "a b"},))],
        (SLICE, "ports[0].appProtocol", "a b"),
    ),
    (
        "container-without-a-name",
        [other("Pod", spec={"containers": [{"image": "x"}]})],
        ("Pod demo/x", "spec.containers[0].name"),
    ),
    (
        "class-on-node-port",
        [service(type="NodePort", loadBalancerClass="a/b")],
        (WEB, "spec.loadBalancerClass", "NodePort"),
    ),
    (
        "scheduler-unknown",
        [service(annotations={"kcompile.dev/ipvs-scheduler": "best"})],
        (WEB, "kcompile.dev/ipvs-scheduler", "best"),
    ),
    (
        "pod-address-bad",
        [other("Pod", status={"podIP": "10.244.0.300"})],
        ("Pod demo/x", "status.podIP", "10.244.0.300"),
    ),
    (
        "container-port-bad",
        [other("Pod", spec={"containers": [{"name": "c", "ports": [{"containerPort": 0}]}]})],
        ("Pod demo/x", "spec.containers[0].ports[0].containerPort"),
    ),
    (
        "node-cidr-bad",
        [other("Node", spec={"podCIDRs": ["10.244.0.0/24", "10.244.1.0/24"]})],
        ("Node x", "spec.podCIDRs", "family"),
    ),
    (
        "node-address-bad",
        [other("Node", status={"addresses": [{"type": "InternalIP", "address": "x"}]})],
        ("Node x", "status.addresses[0].address"),
    ),
    ("namespace-name-bad", [other("Namespace", name="a.b")], ("Namespace a.b", "metadata.name")),
    (
        "service-cidr-bad",
        [other("ServiceCIDR", "networking.k8s.io/v1", spec={"cidrs": ["10.96.0.0/40"]})],
        ("ServiceCIDR x", "spec.cidrs[0]", "10.96.0.0/40"),
    ),
    (
        "deployment-selects-others",
        [
            other(
                "Deployment",
                "apps/v1",
                spec={
                    "selector": {"matchLabels": {"app": "a"}},
                    "template": {"metadata": {"labels": {"app": "b"}}},
                },
            )
        ],
        ("Deployment demo/x", "spec.template.metadata.labels"),
    ),
]

OBJECTS = [*_TYPES, *_NAMES, *_PORTS, *_ADDRESSES, *_CHOICES]
