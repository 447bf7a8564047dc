"""Clusters on one machine: nodes and pods are network namespaces, containers are processes, every node runs
kcompile.

objects     what the lab reads of manifests beyond the rules' part: containers, volumes, ConfigMaps
manifests   files to objects, as they are written
workloads   Deployments to Pods, Pods to nodes: pure
images      image names to commands of this machine
state       what is kept between two commands, and where
network     the wires: text for ip(8), pure
netns       network namespaces and the processes in them: made, run in, removed
container   the process that keeps one container running: a program of its own
pods        a Pod's files, environment, containers; whether it is ready
publish     the cluster's objects, complete, for the nodes and for DNS; every node's rules
nodes       nodes and Service ranges of a new lab: pure
reconcile   processes, rules and DNS made what the objects say
lifecycle   whether a lab exists, its lock, its removal
lab         the verbs
client      the API for what runs in the lab's process
events      the Events that it writes
controllers what makes the cluster be what its objects say
view        what `status` shows: pure

A lab has no route to the machine's own network. `down` removes all of it, whatever state it is in.
"""
