"""What this node can do, and what stands in the way: probed, never concluded from a version.

records.py    what was found out (Facts), and what it comes to (Report)
features.py   what each mode asks of the kernel, one small piece of rules a feature
scratch.py    a child process with a network namespace of its own, where probes really do things
attempts.py   tries to load features
probes.py     modes nftables and iptables: load every feature in there
ipvs.py       mode ipvs: virtual servers, the dummy device, sets, and rules that ask for them
xdp.py        mode xdp, and what on a node disturbs it
drift.py      how many rules differ from the last apply
gather.py     the rules and devices of the namespace that is looked at
node.py       its sysctls, kernel modules, and what kcompile and kube-proxy have running
judge.py      Facts -> Report, pure
checks.py     one check after the other, pure
advice.py     the commands that mend, pure

Gathering writes nothing outside of the probes' own namespaces. The kernel may load modules for a probe, as it
would for apply.
"""

from .gather import gather
from .judge import judge
from .records import MODES, Facts, Finding, ModeReport, Report

__all__ = ["MODES", "Facts", "Finding", "ModeReport", "Report", "gather", "judge"]
