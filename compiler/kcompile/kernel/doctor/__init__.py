"""Which modes this node supports, and what disturbs them. Features are probed; versions are not read.

records.py    Facts (what was read) and Report (the result)
features.py   the kernel features that each mode needs: a few rules a feature
scratch.py    a child process in a new netns, where the probes run
attempts.py   loads features, all together or one by one
probes.py     modes nftables and iptables: load the rules of each feature there
ipvs.py       mode ipvs: virtual servers, the dummy device, ipsets and the rules that match them
xdp.py        mode xdp, and what disturbs it
drift.py      how many rules differ from the last apply
gather.py     the rules and devices of the node's netns
packets.py    walks packets through the live rules: what is lost, and where
listeners.py  processes that listen on a NodePort
node.py       sysctls, kernel modules, processes of kcompile and kube-proxy
judge.py      Facts -> Report, pure
checks.py     the checks, pure
losses.py     the checks on lost packets, dormant tables and interfaces that do not forward, pure
advice.py     the commands that fix a finding, pure

Gathering writes only inside the probes' own netns. A probe may make the kernel load a module, as apply would.
"""

from .gather import gather
from .judge import judge
from .records import MODES, Facts, Finding, ModeReport, Report

__all__ = ["MODES", "Facts", "Finding", "ModeReport", "Report", "gather", "judge"]
