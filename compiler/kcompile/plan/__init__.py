"""Plans: what must change so that a kernel holds a desired Program, and how to show it."""

from .diff import Change, apply_changes, diff
from .plan import Plan, ServiceChange, make_plan, service_changes
from .removal import Removal, service_names

__all__ = ["Change", "Plan", "Removal", "ServiceChange", "apply_changes", "diff", "make_plan", "service_changes", "service_names"]
