"""What a rule does to a packet, and how a walk ends."""

from __future__ import annotations

import enum
from fractions import Fraction
from typing import Protocol

import msgspec

from .packet import Host, Packet

__all__ = ["ONE", "Action", "Branch", "Do", "End", "Ending", "Rule", "Step", "on"]

ONE = Fraction(1)


class Do(enum.Enum):
    """What happens after a rule."""

    NEXT = "next"  # the next rule
    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    SENT = "sent"  # straight out of an interface
    SEND = "send"  # leave the hook, and start anew as one of the node's own
    UNKNOWN = "unknown"


class Action(msgspec.Struct, frozen=True):
    """`what` happens; `detail` is the chain of a jump, or why the answer is unknown."""

    what: Do
    detail: str = ""


on = Action(Do.NEXT)
"""The walk goes on with the next rule."""


class Branch(msgspec.Struct, frozen=True):
    """One way that a rule may go: `weight` is its probability.

    `matched` is False where the rule doesn't apply.
    """

    packet: Packet
    action: Action
    weight: Fraction = ONE
    matched: bool = True


class Rule(Protocol):
    """A rule of any language. `text` is how its language writes it."""

    @property
    def text(self) -> str: ...

    def run(self, packet: Packet, host: Host) -> list[Branch]:
        """All ways it may go for `packet`; their weights add up to 1."""
        ...


class Step(msgspec.Struct, frozen=True):
    """A rule that matched: the chain that it stands in, and its text. A base chain's policy has no rule."""

    chain: str
    rule: str


class End(enum.StrEnum):
    """How a packet's way ends."""

    DELIVERED = "delivered"  # to a process of this node
    SENT = "sent"  # out of an interface
    DROPPED = "dropped"
    REJECTED = "rejected"
    NO_ROUTE = "no route"
    NOT_FORWARDED = "not forwarded"
    UNKNOWN = "unknown"


class Ending(msgspec.Struct, frozen=True):
    """One possible end: its probability, the packet as it then is, the rules that matched, in order.

    `reason`: of an UNKNOWN one, what the model doesn't know.
    """

    end: End
    packet: Packet
    weight: Fraction
    steps: tuple[Step, ...]
    reason: str = ""
