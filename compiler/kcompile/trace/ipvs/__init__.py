"""IPVS, and the ipsets that its rules ask.

sets      ipsets: what ``ipset save`` prints, or those of a lowered Program
servers   virtual servers at the hooks where IPVS sees packets
"""

from .servers import from_program, from_save
from .sets import sets_of_program, sets_of_save

__all__ = ["from_program", "from_save", "sets_of_program", "sets_of_save"]
