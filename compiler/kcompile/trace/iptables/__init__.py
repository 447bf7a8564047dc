"""Rules of iptables.

rules    a rule: its options, what it does
matches  what a match asks of a packet (iptables-extensions(8))
ruleset  base chains: of what iptables-save prints, or of a lowered Program
"""

from .ruleset import from_program, from_save

__all__ = ["from_program", "from_save"]
