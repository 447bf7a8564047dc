"""Configurations that must be refused: an id, the file, and what the message must hold."""

from __future__ import annotations

__all__ = ["CONFIGS"]

PROXY = b"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

CONFIGS: list[tuple[str, bytes, tuple[str, ...]]] = [
    ("config-not-a-mapping", b"- mode: nftables\n", ("config.yaml", "mapping")),
    ("config-bad-yaml", b"mode: [\n", ("config.yaml", "bad YAML")),
    ("config-kind-unknown", b"apiVersion: v1\nkind: ConfigMap\n", ("config.yaml", "kind", "ConfigMap")),
    ("config-kind-is-a-list", b"apiVersion: v1\nkind: [a]\n", ("config.yaml", "kind")),
    (
        "config-version-unknown",
        b"apiVersion: kubeproxy.config.k8s.io/v1\nkind: KubeProxyConfiguration\n",
        ("apiVersion", "v1alpha1"),
    ),
    ("config-twice", PROXY + b"---\n" + PROXY, ("document 2", "second KubeProxyConfiguration")),
    (
        "config-short-field-unknown-inside",
        b"detectLocal: {mode: None, cidr: 10.0.0.0/8}\n",
        ("detectLocal.cidr", "unknown"),
    ),
    ("config-short-field-unknown", b"masqueradeAlways: true\n", ("masqueradeAlways", "unknown")),
    ("config-mode-unknown", PROXY + b"mode: userspace\n", ("mode", "userspace", "nftables")),
    ("config-mode-is-a-number", b"mode: 4\n", ("mode", "string")),
    ("config-compat-unknown", b"compat: ipvs\n", ("compat", "ipvs")),
    (
        "config-bit-too-high",
        PROXY + b"iptables: {masqueradeBit: 32}\n",
        ("iptables.masqueradeBit", "31", "32"),
    ),
    ("config-bit-negative", b"masqueradeBit: -1\n", ("masqueradeBit", "0")),
    (
        "config-bit-is-a-string",
        PROXY + b'nftables: {masqueradeBit: "14"}\n',
        ("nftables.masqueradeBit", '"14"'),
    ),
    ("config-all-is-a-string", b"masqueradeAll: maybe\n", ("masqueradeAll", '"maybe"')),
    ("config-cidr-bad", PROXY + b"clusterCIDR: 10.0.0.0/8,fd00::/129\n", ("clusterCIDR", "fd00::/129")),
    (
        "config-cidr-list-bad",
        b"detectLocal: {mode: ClusterCIDR, cidrs: [10.0.0.0/8, 10.0.0.0]}\n",
        ("detectLocal.cidrs[1]", "10.0.0.0"),
    ),
    ("config-service-cidr-bad", b"serviceCIDRs: [10.96.0.0/x]\n", ("serviceCIDRs[0]", "10.96.0.0/x")),
    (
        "config-node-port-address-bad",
        PROXY + b"nodePortAddresses: [10.0.0.0/8, all]\n",
        ("nodePortAddresses[1]", "all"),
    ),
    (
        "config-primary-and-more",
        b"nodePortAddresses: [primary, 10.0.0.0/8]\n",
        ("nodePortAddresses", "primary"),
    ),
    ("config-range-reversed", b"nodePortRange: 32767-30000\n", ("nodePortRange", "32767-30000")),
    ("config-range-too-high", b"nodePortRange: 30000-70000\n", ("nodePortRange", "70000")),
    ("config-range-is-a-number", b"nodePortRange: 30000\n", ("nodePortRange", "string")),
    ("config-duration-bad", PROXY + b"iptables: {syncPeriod: 30}\n", ("iptables.syncPeriod", "string")),
    (
        "config-duration-without-a-unit",
        PROXY + b'iptables: {minSyncPeriod: "30"}\n',
        ("iptables.minSyncPeriod", '"30"'),
    ),
    ("config-conntrack-negative", PROXY + b"conntrack: {maxPerCore: -5}\n", ("conntrack.maxPerCore", "-5")),
    (
        "config-interface-odd",
        b'detectLocal: {mode: BridgeInterface, bridgeInterface: "cbr0; drop"}\n',
        ("detectLocal.bridgeInterface", "cbr0; drop"),
    ),
    (
        "config-interface-too-long",
        b"detectLocal: {mode: BridgeInterface, bridgeInterface: aaaaaaaaaaaaaaaa}\n",
        ("bridgeInterface", "15"),
    ),
    (
        "config-interface-wildcard",
        b"detectLocal: {mode: InterfaceNamePrefix, interfaceNamePrefix: pod+}\n",
        ("interfaceNamePrefix", "pod+"),
    ),
    (
        "config-interface-missing",
        PROXY + b"detectLocalMode: BridgeInterface\n",
        ("detectLocal.bridgeInterface", "required"),
    ),
    ("config-cidrs-missing", b"detectLocal: {mode: ClusterCIDR}\n", ("detectLocal", "CIDR")),
    ("config-detect-mode-unknown", PROXY + b"detectLocalMode: Guess\n", ("detectLocalMode", "Guess")),
    (
        "config-detect-node-cidr-without-node",
        b"detectLocal: {mode: NodeCIDR}\n",
        ("config.yaml", "NodeCIDR", "podCIDRs"),
    ),
    ("config-scheduler-unknown", PROXY + b"ipvs: {scheduler: best}\n", ("ipvs.scheduler", "best")),
    (
        "config-address-bad",
        PROXY + b"healthzBindAddress: localhost:10256\n",
        ("healthzBindAddress", "localhost:10256"),
    ),
    ("config-hostname-bad", PROXY + b"hostnameOverride: node_a\n", ("hostnameOverride", "node_a")),
    ("config-gate-is-a-string", PROXY + b"featureGates: {A: 'true '}\n", ("featureGates.A", "true or false")),
    ("config-same-key-twice", b"mode: nftables\nmode: iptables\n", ("mode", "duplicate key")),
    (
        "config-several-problems",
        PROXY
        + b"mode: userspace\niptables: {masqueradeBit: 40}\n"
        + b"nodePortAddresses: [primary, x]\nmetricsBindAddress: localhost\n",
        (
            "document 1: ",
            "mode: ",
            "iptables.masqueradeBit: ",
            "nodePortAddresses[1]: ",
            "metricsBindAddress: ",
        ),
    ),
    (
        "config-problems-in-two-documents",
        PROXY + b"mode: userspace\n---\nmasqueradeBit: -1\n",
        ("document 1: mode: ", "document 2: masqueradeBit: "),
    ),
    (
        "config-hundreds-of-problems",
        PROXY + b"nodePortAddresses: [" + b"nonsense, " * 500 + b"]\n",
        ("[0]: ", "; and 4", " more"),
    ),
    ("config-bind-address-bad", PROXY + b"bindAddress: node-a\n", ("bindAddress", "node-a")),
    ("config-bind-port-zero", PROXY + b"metricsBindAddress: 0.0.0.0:0\n", ("metricsBindAddress", "port")),
    ("config-bind-port-name", PROXY + b"healthzBindAddress: 0.0.0.0:http\n", ("healthzBindAddress", "http")),
    (
        "config-bind-address-without-an-address",
        PROXY + b"healthzBindAddress: ':10256'\n",
        ("healthzBindAddress", ":10256"),
    ),
    ("config-oom-score-adj", PROXY + b"oomScoreAdj: -1001\n", ("oomScoreAdj", "-1000")),
    ("config-burst-negative", PROXY + b"clientConnection: {burst: -1}\n", ("clientConnection.burst", "-1")),
    ("config-port-range-bad", PROXY + b"portRange: 2000-300\n", ("portRange", "2000-300")),
    (
        "config-sync-period-too-short",
        PROXY + b"iptables: {syncPeriod: 1s, minSyncPeriod: 2s}\n",
        ("iptables.syncPeriod",),
    ),
    (
        "config-cluster-cidr-twice",
        PROXY + b"clusterCIDR: 10.0.0.0/8,10.0.0.0/9\n",
        ("clusterCIDR", "one of each family"),
    ),
    ("config-section-is-a-list", PROXY + b"ipvs: []\n", ("ipvs", "must be a mapping")),
    (
        "configmap-of-somebody-else",
        b"apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n",
        ("kind", "ConfigMap", "config.conf"),
    ),
    (
        "configmap-bad-inside",
        b"apiVersion: v1\nkind: ConfigMap\ndata:\n  config.conf: |\n    "
        + PROXY.replace(b"\n", b"\n    ")
        + b"mode: userspace\n",
        ('document 1: data["config.conf"]: mode: "userspace"',),
    ),
    (
        "configmap-bad-yaml-inside",
        b"apiVersion: v1\nkind: ConfigMap\ndata: {config.conf: '[', kubeconfig.conf: ''}\n",
        ('data["config.conf"]: bad YAML',),
    ),
    (
        "configmap-list-without-one",
        b"apiVersion: v1\nkind: List\nitems: [{kind: Pod}]\n",
        ("items", "config.conf"),
    ),
    (
        "kubeadm-nothing-of-use",
        b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n",
        ("kind", "InitConfiguration"),
    ),
    (
        "kubeadm-subnet-bad",
        (
            b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
            b"networking: {serviceSubnet: 10.96.0.0, dnsDomain: a b}\n"
        ),
        ("networking.serviceSubnet: ", "networking.dnsDomain: "),
    ),
    (
        "kubeadm-node-ports-bad",
        (
            b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
            b"apiServer: {extraArgs: [{name: service-node-port-range, value: 3-2}]}\n"
        ),
        ("apiServer.extraArgs", "3-2"),
    ),
    (
        "kubeadm-of-another-group",
        b"apiVersion: example.com/v1\nkind: ClusterConfiguration\n",
        ("apiVersion", "example.com/v1"),
    ),
    ("config-domain-bad", b"clusterDomain: not a name\n", ("clusterDomain", "not a name")),
    ("config-python-tag", b"mode: !!python/object/apply:os.getcwd []\n", ("tag",)),
]
