"""Plans: what must change so that a kernel holds a desired Program, and how to show it."""

from .plan import Plan, make_plan, service_changes

__all__ = ["Plan", "make_plan", "service_changes"]
