"""What a controller has decided to write, as values, and the one function that carries it out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...apiserver import StatusError
from ..client import Client, Obj

__all__ = [
    "Again", "Bind", "Create", "Delete", "Finalize", "Tell", "Update", "UpdateStatus", "Write", "carry_out",
]  # fmt: skip


class Create(NamedTuple):
    """`owner`: who has an Event of it: `told`, with the object's name in it, or why it was refused."""

    obj: Obj
    owner: Obj | None = None
    told: str = ""


class Update(NamedTuple):
    obj: Obj


class UpdateStatus(NamedTuple):
    obj: Obj


class Delete(NamedTuple):
    """`grace` and `propagation` as in `Client.delete`. An object that is gone already is no error."""

    obj: Obj
    grace: int | None = None
    propagation: str | None = None


class Bind(NamedTuple):
    pod: Obj
    node: str


class Finalize(NamedTuple):
    """The Namespace is empty and goes."""

    namespace: str


class Tell(NamedTuple):
    """An Event. `kind`: Normal or Warning."""

    regarding: Obj
    kind: str
    reason: str
    message: str


class Again(NamedTuple):
    """Decide again in so many seconds, even if nothing has changed."""

    seconds: float


Write = Create | Update | UpdateStatus | Delete | Bind | Finalize | Tell | Again


def carry_out(client: Client, writes: Iterable[Write], source: str) -> float | None:
    """Write all of it, in order; returns the seconds of the soonest Again, if there is one.

    `source`: the component that its Events name.

    :raises StatusError: the first write that is refused; those behind it are left out
    """
    again: float | None = None
    for write in writes:
        if isinstance(write, Again):
            again = write.seconds if again is None else min(again, write.seconds)
        else:
            _write(client, write, source)
    return again


def _write(client: Client, write: Write, source: str) -> None:
    match write:
        case Create():
            _create(client, write, source)
        case Update(obj):
            client.update(obj)
        case UpdateStatus(obj):
            client.update_status(obj)
        case Delete(obj, grace, propagation):
            _delete(client, obj, grace, propagation)
        case Bind(pod, node):
            client.bind(pod["metadata"]["namespace"], pod["metadata"]["name"], node)
        case Finalize(namespace):
            client.store.finalize(namespace)
        case Tell(regarding, kind, reason, message):
            client.event(regarding, kind, reason, message, source=source)


def _create(client: Client, write: Create, source: str) -> None:
    owner = write.owner
    try:
        made = client.create(write.obj)
    except StatusError as error:
        if owner is not None:
            client.event(owner, "Warning", "FailedCreate", f"Error creating: {error}", source=source)
        raise
    if owner is not None and write.told:
        text = write.told.format(name=made["metadata"]["name"])
        client.event(owner, "Normal", "SuccessfulCreate", text, source=source)


def _delete(client: Client, obj: Obj, grace: int | None, propagation: str | None) -> None:
    meta = obj["metadata"]
    try:
        client.delete(obj["kind"], meta.get("namespace", ""), meta["name"], grace, propagation=propagation)
    except StatusError as error:
        if error.code != 404:
            raise
