"""Real packets against real rules: network namespaces, listeners, probes and flow cases.

    flowcase   a case file, parsed and checked: node, config, manifests, flows
    netns      namespaces by name: make, enter, run in, remove
    topology   a node under test, its pods and the world behind its uplink
    loop       one selector for every socket of every namespace (no threads)
    listeners  TCP, UDP and SCTP servers that answer with their own name and the peer they saw
    taps       packet sockets: what arrived where, and which ICMP errors came back
    probes     one connection attempt and what became of it
    lab        all of the above for one flow case
    verdicts   what a flow must do, against what the probes saw
    modes      which kernel modes this machine can run, asked of the kernel
    command    the kcompile command line on a lab's node, and what it leaves behind
    runner     a flow case from manifests to verdicts

A socket stays in the namespace it was created in, so one process holds them all: `with netns.enter(name)`
around the creation is enough. Everything here needs root and writes only inside namespaces that it made.
"""
