"""Plans: what must change so that a kernel holds a desired Program, and how to show it."""

from .diff import Change, apply_changes, diff
from .plan import Plan, make_plan, service_changes

__all__ = ["Change", "Plan", "apply_changes", "diff", "make_plan", "service_changes"]
