"""The controllers of a lab: what makes the cluster be what its objects say.

`run` runs them all in the event loop. Each watches, has a queue of keys, decides about one key at a time, and
writes through the client. What decides is a pure function: objects in, writes out.

loop.py               the thin loop around each, and what a controller is
queue.py              its queue
writes.py             what it decides, as values, and carrying them out
kinds.py              which kinds there are in a namespace, and outside
labels.py             selectors inside objects
owners.py             ownerReferences, adoption and release
pods.py               what controllers ask of a Pod, and how they make one
numbers.py            percentages, hashes
deployment.py         Deployments: which step comes next
rollout.py            how many Pods each of their ReplicaSets is to have
revisions.py          their history
progress.py           their status
replicaset.py         ReplicaSets
history.py            the templates that StatefulSets and DaemonSets have had
statefulset.py        StatefulSets
ordinals.py           their Pods
daemonset.py          DaemonSets
job.py                Jobs
indexes.py            Jobs whose Pods are numbered
fit.py                whether a Pod may go to a node
neighbours.py         nodes that other Pods keep it away from
scheduler.py          a node for each Pod
backends.py           the Pods behind each Service
slices.py             from the slices that there are to those that are wanted
endpointslices.py     EndpointSlices
endpoints.py          Endpoints
mirroring.py          EndpointSlices from Endpoints that somebody has made
loadbalancer.py       addresses for Services of type LoadBalancer
kubernetes.py         the Service of the API server
namespaces.py         the deletion of Namespaces, and what each holds
garbage.py            what is owned goes with its owners
nodes.py              taints, and Pods of nodes that aren't ready
podgc.py              Pods that have ended
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from ..client import Client
from .backends import Backends
from .daemonset import DaemonSets
from .deployment import Deployments
from .endpoints import EndpointsObjects
from .endpointslices import EndpointSlices
from .garbage import GarbageCollector
from .job import Jobs
from .kubernetes import KubernetesService
from .loadbalancer import LoadBalancers
from .loop import Controller, run_controller
from .mirroring import MirroredEndpoints
from .namespaces import Namespaces
from .nodes import Nodes
from .podgc import EndedPods
from .replicaset import ReplicaSets
from .scheduler import Scheduler
from .statefulset import StatefulSets

__all__ = ["Settings", "run"]


class Settings(NamedTuple):
    """What a lab may set of its controllers.

    `load_balancer_pools`: networks whose addresses Services of type LoadBalancer get. `api_endpoints`:
    address and port of the API server, for the Service ``kubernetes``; none is made without.
    `ca_certificate`: PEM, for the ConfigMap kube-root-ca.crt of each Namespace; none is made without.
    `eviction_seconds`: how long Pods stay on a node that isn't ready, where they don't say it (300 in a real
    cluster). `ended_pods`: how many Pods are kept that have ended.
    """

    load_balancer_pools: tuple[str, ...] = ("198.51.100.0/24", "2001:db8:51::/112")
    api_endpoints: tuple[tuple[str, int], ...] = ()
    ca_certificate: str = ""
    eviction_seconds: float = 5.0
    ended_pods: int = 100


async def run(client: Client, settings: Settings | None = None) -> None:
    """Run all controllers until cancelled. None of them ends, whatever is in the objects."""
    async with asyncio.TaskGroup() as tasks:
        for controller in _controllers(client, settings or Settings()):
            tasks.create_task(run_controller(client, controller), name=controller.name)


def _controllers(client: Client, settings: Settings) -> Iterable[Controller]:
    backends = Backends(client)
    return (
        Deployments(client),
        ReplicaSets(client),
        StatefulSets(client),
        DaemonSets(client),
        Jobs(client),
        Scheduler(client),
        EndpointSlices(client, backends),
        EndpointsObjects(client, backends),
        MirroredEndpoints(client),
        LoadBalancers(client, settings.load_balancer_pools),
        KubernetesService(client, settings.api_endpoints),
        Namespaces(client, settings.ca_certificate),
        GarbageCollector(client),
        Nodes(client, settings.eviction_seconds),
        EndedPods(client, settings.ended_pods),
    )
