"""A Kubernetes cluster in small, on one machine: nodes and pods are network namespaces, containers are
processes, and kcompile programs every node.

The process of a lab
process      its life: started by `up`, ended by a signal
parts        its parts, in one event loop
cluster      the namespaces of fabric, nodes and client, linked
network      the wires: text for ip(8), pure
agents       the agents of all nodes
feed         what they follow: the store, each change decoded once
outside      the fabric's routes to load balancer and external addresses
kubesystem   the objects that every lab begins with: pure
credentials  certificates, tokens, kubeconfigs
control      what the process answers beside the API
waiting      what isn't ready yet: pure, over objects
client       the API for what runs in the process
events       the Events that it writes
controllers  what makes the cluster be what its objects say
kubelet      the pods of the nodes
spawner      the process that starts all containers
images       image names to commands of this machine
echo         the lab's own image

The commands, its clients
launch       the process started; whether it runs; everything removed, also after a crash
settings     what a lab is made with, and where its files are
making       settings from options
nodes        nodes and Service ranges of a new lab: pure
given        manifests read and checked
runnable     whether their Pods can run: images, volumes, what has no effect
applying     objects applied, scaled, deleted
remote       the client of the lab's sockets
naming       the objects that a word names
terminal     a command in a container
podlogs      logs of pods
standing     what `status` shows: pure
kubectl      the real kubectl
bpffs        the file system that mode xdp pins its maps in
netns        network namespaces and the processes in them: made, run in, removed

A lab has no route to the machine's own network. `down` removes all of it, whatever state it is in.
"""
