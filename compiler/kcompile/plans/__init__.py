"""Plans: what must change so that a kernel holds a desired Program, and how to show it."""

from .plan import Plan, ServiceChange, make_plan, service_changes
from .removal import Removal, service_names

__all__ = ["Plan", "Removal", "ServiceChange", "make_plan", "service_changes", "service_names"]
