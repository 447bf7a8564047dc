"""Well-formed text, wrong objects: an id, the objects, and what the message must hold."""

from __future__ import annotations

from .address_cases import ADDRESSES
from .manifests import SLICE, WEB, ObjectCase, balanced, other, service, slice_of
from .port_cases import PORTS

__all__ = ["OBJECTS"]

_TYPES: list[ObjectCase] = [
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

_NAMES: list[ObjectCase] = [
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


_CHOICES: list[ObjectCase] = [
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

OBJECTS = [*_TYPES, *_NAMES, *PORTS, *ADDRESSES, *_CHOICES]
