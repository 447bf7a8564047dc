"""What one change costs a process that holds a mode's driver open, as an agent does: beside a first apply,
and beside the bare tool or messages with the same content.

measure.py    the changes, made by the driver and bare, in turns
bare.py       the same content without the driver: what records it
__main__.py   the command: ``python -m kcompile_bench.held``
"""
