"""What status shows, and the wires as lines."""

import pytest

from kcompile.lab.network import default_nodes, node_lines, pod_lines, pod_node_lines
from kcompile.lab.settings import LabSettings
from kcompile.lab.standing import data, pod_state, tree

SHOWN = {
    "name": "lab",
    "mode": "nftables",
    "network": "routes",
    "domain": "cluster.local",
    "client": ["203.0.113.7"],
    "nodes": [
        {
            "name": "node-a",
            "mode": "nftables",
            "addresses": ["192.0.2.10"],
            "podCIDRs": ["10.244.0.0/24"],
            "pods": [
                {
                    "namespace": "shop",
                    "name": "web-1",
                    "addresses": ["10.244.0.2"],
                    "state": "ready",
                    "restarts": 0,
                    "images": ["nginx"],
                },
                {
                    "namespace": "a",
                    "name": "b",
                    "addresses": ["10.244.0.33"],
                    "state": "ended (1)",
                    "restarts": 2,
                    "images": ["x", "y"],
                },
            ],
        },
        {
            "name": "node-b",
            "mode": "iptables",
            "addresses": ["192.0.2.11"],
            "podCIDRs": ["10.244.1.0/24"],
            "pods": [],
        },
    ],
    "pending": [],
    "services": [
        {
            "namespace": "shop",
            "name": "web",
            "type": "NodePort",
            "clusterIPs": ["10.96.0.1"],
            "externalIPs": ["198.51.100.1"],
            "ports": ["80:30080/TCP"],
            "endpoints": ["i"],
        }
    ],
}


def test_the_tree():
    assert list(tree(SHOWN)) == [
        "lab lab: mode nftables, routes between 2 nodes, domain cluster.local",
        "├─ node node-a  192.0.2.10  pods 10.244.0.0/24",
        "│  ├─ shop/web-1  10.244.0.2   ready                  nginx",
        "│  └─ a/b         10.244.0.33  ended (1)  2 restarts  x, y",
        "├─ node node-b  192.0.2.11  pods 10.244.1.0/24  mode iptables",
        "├─ client outside  203.0.113.7",
        "└─ services",
        "   └─ shop/web  NodePort  10.96.0.1 198.51.100.1  80:30080/TCP  1 endpoint",
    ]


def test_a_lab_without_services():
    assert list(tree(SHOWN | {"services": [], "nodes": []}))[-1] == "└─ services"


def pod(**status: object) -> dict[str, object]:
    meta = {"namespace": "shop", "name": "web-1"}
    spec = {"nodeName": "node-a", "containers": [{"name": "c", "image": "docker.io/library/nginx:1"}]}
    return {"metadata": meta, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Running"}, "not ready"),
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, "ready"),
        (
            {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            "CrashLoopBackOff",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
            "ended (3)",
        ),
        ({"phase": "Succeeded"}, "ended (0)"),
    ],
)
def test_the_state_of_a_pod(status: dict[str, object], state: str):
    assert pod_state(pod(**status)) == state


def test_the_data_of_a_lab():
    settings = LabSettings(
        name="lab", service_cidrs=["10.96.0.0/12"], nodes=default_nodes(2, dual_stack=False)
    )
    service = {
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "type": "NodePort",
            "clusterIPs": ["10.96.0.1"],
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}},
    }
    labels = {"kubernetes.io/service-name": "web"}
    endpoints = [
        {"addresses": ["10.244.0.2"], "conditions": {"ready": True}},
        {"addresses": ["10.244.0.3"], "conditions": {"ready": False}},
    ]
    piece = {"metadata": {"namespace": "shop", "labels": labels}, "endpoints": endpoints}
    shown = data(settings, {"node-b": "iptables"}, [pod(phase="Running")], [service], [piece])
    assert [node["mode"] for node in shown["nodes"]] == ["nftables", "iptables"]
    assert shown["nodes"][0]["pods"][0]["images"] == ["nginx"]
    assert shown["services"] == [
        {
            "namespace": "shop",
            "name": "web",
            "type": "NodePort",
            "clusterIPs": ["10.96.0.1"],
            "externalIPs": ["198.51.100.1"],
            "ports": ["80:30080/TCP"],
            "endpoints": ["10.244.0.2"],
        }
    ]


def test_the_lines_of_a_pod():
    node = default_nodes(1, dual_stack=True)[0]
    ips = ["10.244.0.2", "fd00:10:244::2"]
    assert list(pod_node_lines("pod0", ips, node, "space", routes=True)) == [
        "link add pod0 type veth peer name eth0 netns space",
        "link set pod0 up",
        "address add 169.254.1.1/32 dev pod0 scope link",
        "route add 10.244.0.2/32 dev pod0 src 192.0.2.10",
        "address add fe80::1/64 dev pod0 nodad",
        "route add fd00:10:244::2/128 dev pod0 src 2001:db8:1::a",
    ]
    assert next(pod_node_lines("pod0", ips, node, "space", routes=False)).count("mtu 1450") == 2
    assert list(pod_lines(ips))[2:] == [
        "address add 10.244.0.2/32 dev eth0 nodad",
        "route add default via 169.254.1.1 dev eth0 onlink",
        "address add fd00:10:244::2/128 dev eth0 nodad",
        "route add default via fe80::1 dev eth0 onlink",
    ]


def test_nodes_reach_each_others_pods():
    nodes = default_nodes(3, dual_stack=False)
    assert "route add 10.244.2.0/24 via 192.0.2.12 dev eth0 onlink" in list(
        node_lines(nodes[0], nodes, routes=True)
    )
    wrapped = list(node_lines(nodes[0], nodes, routes=False))
    assert "route add 10.244.2.0/24 via 10.244.2.0 dev vxlan0 onlink" in wrapped
    assert "neigh add 10.244.2.0 lladdr 02:00:00:00:00:02 dev vxlan0 nud permanent" in wrapped
