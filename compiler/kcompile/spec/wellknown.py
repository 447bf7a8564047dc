"""Labels and annotations that Kubernetes gives a meaning to (k8s.io/api/core/v1 and discovery/v1,
well_known_labels.go).
"""

from __future__ import annotations

__all__ = [
    "HEADLESS_LABEL",
    "LEADER_ANNOTATION",
    "MANAGED_BY_LABEL",
    "PROXY_NAME_LABEL",
    "SERVICE_LABEL",
    "SKIP_MIRROR_LABEL",
    "HOSTNAME_LABEL",
    "ZONE_LABEL",
]

SERVICE_LABEL = "kubernetes.io/service-name"  # binds a slice to its Service
HEADLESS_LABEL = "service.kubernetes.io/headless"  # a headless Service's slice: for DNS, not for proxies
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"  # some other proxy's business
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"  # an Endpoints object that is an old lock
ZONE_LABEL = "topology.kubernetes.io/zone"
HOSTNAME_LABEL = "kubernetes.io/hostname"
