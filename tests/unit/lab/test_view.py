"""What status shows, and the wires as lines."""

from kcompile.lab.network import default_nodes, node_lines, pod_lines, pod_node_lines
from kcompile.lab.view import tree

SHOWN = {
    "name": "lab",
    "mode": "nftables",
    "network": "routes",
    "domain": "cluster.local",
    "client": ["203.0.113.7"],
    "nodes": [
        {
            "name": "node-a",
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
        {"name": "node-b", "addresses": ["192.0.2.11"], "podCIDRs": ["10.244.1.0/24"], "pods": []},
    ],
    "services": [
        {
            "namespace": "shop",
            "name": "web",
            "type": "NodePort",
            "clusterIPs": ["10.96.0.1"],
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
        "├─ node node-b  192.0.2.11  pods 10.244.1.0/24",
        "├─ client outside  203.0.113.7",
        "└─ services",
        "   └─ shop/web  NodePort  10.96.0.1  80:30080/TCP  1 endpoint",
    ]


def test_a_lab_without_services():
    assert list(tree(SHOWN | {"services": [], "nodes": []}))[-1] == "└─ services"


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
