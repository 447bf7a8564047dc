"""Configurations that must be refused: an id, the file, and what the message must hold."""

from __future__ import annotations

__all__ = ["CONFIGS"]

PROXY = b"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"

CONFIGS: list[tuple[str, bytes, tuple[str, ...]]] = [
    ("config-not-a-mapping", b"- mode: nftables\n", ("config.yaml", "mapping")),
    ("config-bad-yaml", b"mode: [\n", ("config.yaml", "bad YAML")),
    ("config-kind-unknown", b"apiVersion: v1\nkind: ConfigMap\n", ("config.yaml", "kind", "ConfigMap")),
    ("config-kind-is-a-list", b"apiVersion: v1\nkind: [a]\n", ("config.yaml", "kind")),
    ("config-version-unknown", b"apiVersion: kubeproxy.config.k8s.io/v1\nkind: KubeProxyConfiguration\n", ("apiVersion", "v1alpha1")),
    ("config-twice", PROXY + b"---\n" + PROXY, ("document 2", "second KubeProxyConfiguration")),
    ("config-field-unknown", PROXY + b"iptabels: {}\n", ("iptabels", "unknown")),
    ("config-field-unknown-inside", PROXY + b"iptables: {masqueradeAlll: true}\n", ("iptables.masqueradeAlll", "unknown")),
    ("config-short-field-unknown", b"masqueradeAlways: true\n", ("masqueradeAlways", "unknown")),
    ("config-mode-unknown", PROXY + b"mode: userspace\n", ("mode", "userspace", "nftables")),
    ("config-mode-is-a-number", b"mode: 4\n", ("mode", "string")),
    ("config-compat-unknown", b"compat: ipvs\n", ("compat", "ipvs")),
    ("config-bit-too-high", PROXY + b"iptables: {masqueradeBit: 32}\n", ("iptables.masqueradeBit", "31", "32")),
    ("config-bit-negative", b"masqueradeBit: -1\n", ("masqueradeBit", "0")),
    ("config-bit-is-a-string", PROXY + b'nftables: {masqueradeBit: "14"}\n', ("nftables.masqueradeBit", '"14"')),
    ("config-all-is-a-string", b"masqueradeAll: maybe\n", ("masqueradeAll", '"maybe"')),
    ("config-cidr-bad", PROXY + b"clusterCIDR: 10.0.0.0/8,fd00::/129\n", ("clusterCIDR", "fd00::/129")),
    ("config-cidr-list-bad", b"detectLocal: {mode: ClusterCIDR, cidrs: [10.0.0.0/8, 10.0.0.0]}\n", ("detectLocal.cidrs[1]", "10.0.0.0")),
    ("config-service-cidr-bad", b"serviceCIDRs: [10.96.0.0/x]\n", ("serviceCIDRs[0]", "10.96.0.0/x")),
    ("config-node-port-address-bad", PROXY + b"nodePortAddresses: [10.0.0.0/8, all]\n", ("nodePortAddresses[1]", "all")),
    ("config-primary-and-more", b"nodePortAddresses: [primary, 10.0.0.0/8]\n", ("nodePortAddresses", "primary")),
    ("config-range-reversed", b"nodePortRange: 32767-30000\n", ("nodePortRange", "32767-30000")),
    ("config-range-too-high", b"nodePortRange: 30000-70000\n", ("nodePortRange", "70000")),
    ("config-range-is-a-number", b"nodePortRange: 30000\n", ("nodePortRange", "string")),
    ("config-duration-bad", PROXY + b"iptables: {syncPeriod: 30}\n", ("iptables.syncPeriod", "string")),
    ("config-duration-without-a-unit", PROXY + b'iptables: {minSyncPeriod: "30"}\n', ("iptables.minSyncPeriod", '"30"')),
    ("config-conntrack-negative", PROXY + b"conntrack: {maxPerCore: -5}\n", ("conntrack.maxPerCore", "-5")),
    (
        "config-interface-odd",
        b'detectLocal: {mode: BridgeInterface, bridgeInterface: "cbr0; drop"}\n',
        ("detectLocal.bridgeInterface", "cbr0; drop"),
    ),
    ("config-interface-too-long", b"detectLocal: {mode: BridgeInterface, bridgeInterface: aaaaaaaaaaaaaaaa}\n", ("bridgeInterface", "15")),
    (
        "config-interface-wildcard",
        b"detectLocal: {mode: InterfaceNamePrefix, interfaceNamePrefix: pod+}\n",
        ("interfaceNamePrefix", "pod+"),
    ),
    ("config-interface-missing", PROXY + b"detectLocalMode: BridgeInterface\n", ("detectLocal.bridgeInterface", "required")),
    ("config-cidrs-missing", b"detectLocal: {mode: ClusterCIDR}\n", ("detectLocal", "CIDR")),
    ("config-detect-mode-unknown", PROXY + b"detectLocalMode: Guess\n", ("detectLocalMode", "Guess")),
    ("config-detect-node-cidr-without-node", b"detectLocal: {mode: NodeCIDR}\n", ("config.yaml", "NodeCIDR", "podCIDRs")),
    ("config-scheduler-unknown", PROXY + b"ipvs: {scheduler: best}\n", ("ipvs.scheduler", "best")),
    ("config-address-bad", PROXY + b"healthzBindAddress: localhost:10256\n", ("healthzBindAddress", "localhost:10256")),
    ("config-hostname-bad", PROXY + b"hostnameOverride: node_a\n", ("hostnameOverride", "node_a")),
    ("config-gate-is-a-string", PROXY + b"featureGates: {A: 'true '}\n", ("featureGates.A", "true or false")),
    ("config-same-key-twice", b"mode: nftables\nmode: iptables\n", ("mode", "twice")),
    ("config-python-tag", b"mode: !!python/object/apply:os.getcwd []\n", ("tag",)),
]
