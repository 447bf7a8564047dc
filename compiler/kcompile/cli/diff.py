"""``kcompile diff`` (its work is plan's)."""

from .plan import diff_command as command

__all__ = ["command"]
