"""The kubelets of a lab: the pods of each node, as processes in namespaces. One event loop, no thread a pod.

kubelets.py      the pods that are bound to the lab's nodes: begun, ended, replaced
pod.py           one pod: sandbox, volumes, init containers, containers, removal
container.py     one container: starts, restarts, its end
life.py          one start: hooks and probes while it runs
access.py        logs, exec, attach and connections for clients of the API
runtime.py       processes by way of the spawner (lab/spawner)
sandbox.py       network namespaces and addresses of pods
streams.py       pipes and terminals of processes
logs.py          logs: written line by line, read while they grow
probing.py       one HTTP request, TCP connection or command of a probe or hook
volumes.py       the files of a pod's volumes
cgroups.py       limits, where this machine lets a lab set them
specs.py         what the spawner is asked for: command, user, files, mounts
environment.py   environment variables: pure
podfiles.py      hosts, hostname, resolv.conf: pure
probes.py        thresholds of probes: pure
backoff.py       delays between restarts: pure
status.py        phase, conditions and statuses: pure
quantity.py      amounts as ``100m`` and ``64Mi``: pure
unsupported.py   what a lab hasn't, by name: pure
"""

from .kubelets import Kubelets

__all__ = ["Kubelets"]
