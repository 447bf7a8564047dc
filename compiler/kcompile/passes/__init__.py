"""Pure passes over the IR: each settles one semantic of kube-proxy, once, for every target.

endpoints.py   which endpoints may serve at all: ready, or else serving and terminating   (topology.go)
topology.py    node and zone hints narrow the Cluster set                                  (topology.go)
policy.py      what each class of source gets at each kind of frontend                     (*/proxier.go)
guard.py       loadBalancerSourceRanges                                      (serviceport.go, */proxier.go)
health.py      healthCheckNodePort                                           (healthcheck/service_health.go)
conflicts.py   one owner for a frontend that two Services claim
occupied.py    external addresses that are another host's, before all others in mode ipvs
reasons.py     why an endpoint isn't used, in words
resolve.py     runs them in order: ServicePorts in, a Dataplane out
"""

from .conflicts import Claims
from .health import health_checks
from .occupied import Occupied, without_occupied
from .resolve import resolve, resolve_port

__all__ = ["Claims", "Occupied", "health_checks", "resolve", "resolve_port", "without_occupied"]
