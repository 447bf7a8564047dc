"""The targets: each lowers the same IR to its own kind of Program, and writes, reads and explains it. Pure.

base.py       the protocol that every target follows, and FrontendView
counted.py    a Program of which each port owns a part
flowtable.py  the flowtable of --fast-path, beside any mode but xdp
node.py       resources beside the rules: sysctls, IPVS timeouts, health check ports
nftables/     mode nftables
iptables/     mode iptables, legacy and nft variant
ipvs/         mode ipvs
xdp/          mode xdp
xtables/      text of iptables rules, shared by modes iptables and ipvs
"""
