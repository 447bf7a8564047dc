"""Wrong addresses and ranges: an id, the objects, and what the message must hold."""

from __future__ import annotations

from .manifests import PORT, SLICE, WEB, ObjectCase, balanced, other, service, slice_of

__all__ = ["ADDRESSES"]

ADDRESSES: list[ObjectCase] = [
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
