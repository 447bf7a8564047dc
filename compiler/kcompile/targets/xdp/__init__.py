"""Mode xdp: entries of eBPF maps, and the attachments of the programs that read them (docs/adr/0008).

target.py        the target: text of a resource
resources.py     keys and values
layout.py        the maps: formats, flags, capacities
lower.py         Dataplane -> Program
incremental.py   the same, kept up to date port by port
attachments.py   which program runs on which interface
maglev.py        Maglev tables
view.py          Program -> frontends
"""

from .incremental import IncrementalProgram
from .lower import limits
from .target import XdpTarget

__all__ = ["IncrementalProgram", "XdpTarget", "limits"]
