"""Case files: what they may say, and the objects and the configuration that the command gets from them."""

from pathlib import Path
from typing import Any

import pytest

from harness.command import configuration, node_object
from harness.flowcase import CaseError, Node
from harness.handmade import HOST, POD, case, flow

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sticki": True}, "flow 1: unknown key sticki"),
        ({"expect": {"verdict": "drop", "how": 1}}, "flow 1: expect: unknown key how"),
        ({"http": {"path": "/", "body": "x"}}, "flow 1: http: unknown key body"),
        ({"expect": {"verdict": "maybe"}}, "'maybe' is not a valid Verdict"),
        ({"expect": {"verdict": "dnat"}}, "dnat needs some"),
        ({"expect": {"verdict": "dnat", "backends": ["10.0.0.1"]}}, "isn't ADDRESS:PORT"),
        ({"proto": "ICMP"}, "unknown protocol ICMP"),
        ({"src": "::1"}, "two families"),
        ({"src": "pod"}, "does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_what_a_case_may_not_say(tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(CaseError, match=message):
        case(tmp_path, flow("drop") | change)


def test_what_a_case_may_say(tmp_path: Path):
    wanted = case(tmp_path, flow("drop", src=[POD, HOST], dport=["80", 81], proto=["tcp", "UDP"]))
    assert len(wanted.flows) == 8
    assert {str(item) for item in wanted.flows} >= {
        "TCP 10.244.0.5 -> 10.96.0.20:80",
        "UDP 192.0.2.10 -> 10.96.0.20:81",
    }
    by_mode = {"iptables": {"verdict": "accept"}, "iptables-nft": {"verdict": "reject"}}
    (item,) = case(tmp_path, flow("drop", expect_by_mode=by_mode)).flows
    assert [item.expect(mode).verdict.value for mode in ("nftables", "iptables-legacy", "iptables-nft")] == [
        "drop",
        "accept",
        "reject",
    ]


def test_the_node_object():
    made = node_object(Node("a", ("192.0.2.1", "2001:db8::1"), ("10.0.0.0/24", "fd00::/64"), "z"))
    assert made["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z"
    assert [item["address"] for item in made["status"]["addresses"]] == ["192.0.2.1", "2001:db8::1"]
    assert made["spec"]["podCIDRs"] == ["10.0.0.0/24", "fd00::/64"]


def test_the_configuration():
    proxy, own = configuration(
        {
            "detectLocal": {"mode": "ClusterCIDR", "cidrs": ["10.0.0.0/8", "fd00::/16"]},
            "masqueradeAll": True,
            "localhostNodePorts": False,
            "iptables": {"masqueradeBit": 5},
            "nodePortAddresses": ["primary"],
            "nodePortRange": "30000-30100",
            "serviceCIDRs": ["10.96.0.0/12"],
            "somethingElse": 1,
        }
    )
    assert proxy == {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": "10.0.0.0/8,fd00::/16",
        "nodePortAddresses": ["primary"],
        "iptables": {"masqueradeAll": True, "localhostNodePorts": False, "masqueradeBit": 5},
        "nftables": {"masqueradeAll": True},
        "somethingElse": 1,
    }
    assert (own["kind"], own["nodePortRange"], own["serviceCIDRs"]) == (
        "CompilerConfiguration",
        "30000-30100",
        ["10.96.0.0/12"],
    )
    prefixed, _ = configuration(
        {"detectLocal": {"mode": "InterfaceNamePrefix", "cidrs": [], "interfaceNamePrefix": "pod"}}
    )
    assert (prefixed["detectLocalMode"], prefixed["detectLocal"]) == (
        "InterfaceNamePrefix",
        {"interfaceNamePrefix": "pod"},
    )
    assert "detectLocalMode" not in configuration({"detectLocal": {"mode": "None", "cidrs": []}})[0]
