"""Shared by the modes that write iptables rules.

keys.py       keys: our chains, and the jumps to them
spelling.py   how iptables-save and ipset write addresses
render.py     changes of a table -> text of iptables-restore
parse.py      text of iptables-save -> Program
"""
