"""A model of packets: what rules do to a packet, found without sending one.

packet      a packet and its connection's state
outcome     what a rule does, what a walk has done so far, how it ends
chains      base chains in the order of their hooks; the walk through one
journey     a packet's way through a node, hook by hook
nft         rules of nftables: from a lowered Program, or as ``nft -j list ruleset`` shows them
ipvs        virtual servers and ipsets: from a lowered Program, or as ipvsadm and ipset save them
xdp         the eBPF programs: from a lowered Program, or one that was read back from their maps
iptables    rules of iptables: from a lowered Program, or as iptables-save shows them
lowered     the base chains of a lowered Program of any target
live        those of a node, of what its kernel shows
clients     who sends packets to a frontend, and where it answers
causes      the first cause why a packet doesn't arrive

Pure: rules come in as text or data. A match or statement that the model doesn't know ends the walk with
"unknown", and says which; it never guesses. Chance is walked all ways, each with its probability.
"""
