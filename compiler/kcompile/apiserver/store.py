"""The objects, in memory, with one counter of versions for all, and the newest changes of each kind.

A store may be used from any thread: the server reads it in its own, a test writes from another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..spec.allocate import DEFAULT_NODE_PORT_RANGE
from .admission import Admission
from .collection import Collection
from .deletion import marked, over
from .metadata import beginning, check_preconditions, succeeding
from .options import Selection
from .patch import patched
from .records import Event, Stored, stored
from .resources import BY_KIND, RESOURCES, Resource
from .schema import of_kind
from .selectors import field_matcher, label_matcher
from .status import already_exists, bad_request, being_terminated, conflict, not_found, not_served

__all__ = ["Store"]

_HISTORY = 10_000
_ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount"}


class Store:
    """Kubernetes objects as plain dicts.

    `history`: how many changes of a kind are kept for watches and for lists at older versions, at least; a
    watch from before them is told 410. `objects`: what another server had, each with its uid and
    resourceVersion; the counter goes on from `version`, or from the highest of them. Without any, the store
    begins with the namespaces default and kube-system.

    `create`, `update`, `update_status`, `patch`, `bind` and `delete` do what the server does for a client:
    defaults, checks, allocation; with `dry` they write nothing. `put` takes an object as a server would have
    it already.

    `controllers`: there are a garbage collector and a namespace controller. A Namespace that is deleted then
    stays, Terminating, until `finalize`; propagation policies set their finalizers; and each new Namespace
    gets its ServiceAccount. Without, a Namespace goes at once with what is in it. `node_port_range`: the
    first and the last node port.

    Methods that take a kind want it as ``"Service"``. What they return is the caller's own.
    """

    def __init__(
        self,
        objects: Iterable[Mapping[str, Any]] = (),
        *,
        version: int = 0,
        history: int = _HISTORY,
        controllers: bool = False,
        node_port_range: tuple[int, int] = DEFAULT_NODE_PORT_RANGE,
    ) -> None:
        self.lock = threading.RLock()
        self._controllers = controllers
        self.version = 0
        self._collections = {resource: Collection(resource, history) for resource in RESOURCES}
        self._listeners: list[Callable[[Resource], None]] = []
        self._admission = Admission(self._collections, node_port_range)
        for obj in sorted(objects, key=_version_of):
            resource, self.version = _resource(obj), _version_of(obj)
            item = stored(resource, obj, self.version)
            self._collections[resource].write(Event(self.version, None, item))
        if not self.version:
            for name in ("default", "kube-system"):
                self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.version = max(self.version, version)

    # --- what clients ask ---

    def create(self, obj: Mapping[str, Any], *, dry: bool = False) -> dict[str, Any]:
        """Add an object; returns it as the server keeps it.

        :raises StatusError: 409 if it exists, 404 if its namespace doesn't, 403 if that is being deleted,
            400 or 422 for a wrong object
        """
        resource = _resource(obj)
        with self.lock:
            admitted = self._admission.created(resource, obj)
            meta = admitted["metadata"]
            if _key(resource, meta) in self._collections[resource].objects:
                raise already_exists(resource, meta["name"])
            if resource.namespaced:
                self._check_namespace(resource, meta)
            made = self._written(resource, None, beginning(resource, admitted), dry=dry)
            if resource.kind == "Namespace" and self._controllers and not dry:
                self.create(_ACCOUNT | {"metadata": {"name": "default", "namespace": meta["name"]}})
            return made

    def update(self, obj: Mapping[str, Any], *, dry: bool = False) -> dict[str, Any]:
        """Replace an object. Its resourceVersion, where it has one, must be the stored one's. Status is kept.

        An object that is being deleted goes with the last of its finalizers.

        :raises StatusError: 404, 409 Conflict, 400 or 422
        """
        resource = _resource(obj)
        with self.lock:
            before = self._existing(resource, _key(resource, obj.get("metadata") or {}))
            check_preconditions(before, obj.get("metadata") or {})
            old = before.object()
            admitted = self._admission.updated(resource, obj, old)
            new = succeeding(resource, old, admitted)
            if new == old:
                return old
            if over(new) and not dry:
                self._remove(before)
                return new
            return self._written(resource, before, new, dry=dry)

    def update_status(self, obj: Mapping[str, Any], *, dry: bool = False) -> dict[str, Any]:
        """Replace an object's status, and nothing else of it.

        :raises StatusError: 404, also for a kind without the subresource; 409 Conflict
        """
        resource = _resource(obj)
        if "status" not in resource.parts:
            raise not_served()
        with self.lock:
            before = self._existing(resource, _key(resource, obj.get("metadata") or {}))
            check_preconditions(before, obj.get("metadata") or {})
            old = before.object()
            new = self._admission.with_status(resource, obj, old)
            return old if new == old else self._written(resource, before, new, dry=dry)

    def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        form: str = "merge",
        subresource: str = "",
        *,
        settled: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        dry: bool = False,
    ) -> dict[str, Any]:
        """Change an object by a patch. `form`: json, merge or strategic. `subresource`: status, or empty.

        `settled` makes of the patched object what is written, or refuses it.

        :raises StatusError: as `update`, and 400 or 422 for the patch itself
        """
        resource = _kind(kind)
        with self.lock:
            key = _key(resource, {"namespace": namespace, "name": name})
            old = self._existing(resource, key).object()
            new = patched(old, body, form, of_kind(resource.api_version, kind))
            if _identity(new) != (resource.api_version, kind, key):
                raise bad_request("the patch changes the kind, the name or the namespace of the object")
            if settled is not None:
                new = settled(new)
            return self.update_status(new, dry=dry) if subresource else self.update(new, dry=dry)

    def bind(self, namespace: str, name: str, node: str, *, dry: bool = False) -> dict[str, Any]:
        """Give a Pod to a node, as the subresource binding does.

        :raises StatusError: 404, or 409 where it has one or is being deleted
        """
        resource = _kind("Pod")
        with self.lock:
            before = self._existing(resource, f"{namespace}/{name}")
            pod = before.object()
            if (has := pod["spec"].get("nodeName")) or "deletionTimestamp" in pod["metadata"]:
                why = f'is already assigned to node "{has}"' if has else "is being deleted"
                raise conflict(resource, name, f"pod {name} {why}")
            return self._written(resource, before, self._admission.bound(pod, node), dry=dry)

    def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        preconditions: Mapping[str, Any] | None = None,
        *,
        grace: int | None = None,
        propagation: str | None = None,
        dry: bool = False,
    ) -> dict[str, Any]:
        """Delete an object: what nothing holds goes at once. Returns what it was, or what it has become.

        `preconditions`: a resourceVersion or a uid that it must have. `grace`: seconds that a Pod on a node
        gets, default its own; its kubelet ends the deletion with 0. `propagation`: Background, Foreground or
        Orphan.

        :raises StatusError: 404, or 409 where `preconditions` don't hold
        """
        resource = _kind(kind)
        with self.lock:
            before = self._existing(resource, _key(resource, {"namespace": namespace, "name": name}))
            check_preconditions(before, preconditions or {})
            old = before.object()
            new = marked(resource, old, grace, propagation, controllers=self._controllers)
            if dry:
                return new
            if not over(new):
                return new if new == old else self._written(resource, before, new)
            if resource.kind == "Namespace":
                self._empty(name)
            self._remove(before)
            held = "deletionTimestamp" in old["metadata"]
            return (stored(resource, new, self.version) if held else before.at(self.version)).object()

    def finalize(self, namespace: str) -> None:
        """End the deletion of a Namespace that its controller has emptied.

        :raises StatusError: 404, or 409 where it isn't being deleted
        """
        with self.lock:
            before = self._existing(_NAMESPACES, namespace)
            if "deletionTimestamp" not in before.object()["metadata"]:
                raise conflict(_NAMESPACES, namespace, "the namespace is not being deleted")
            self._empty(namespace)
            self._remove(before)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """One object; `namespace` is empty for a cluster-scoped kind.

        :raises StatusError: 404
        """
        resource = _kind(kind)
        with self.lock:
            return self._existing(resource, _key(resource, {"namespace": namespace, "name": name})).object()

    def list(
        self, kind: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """The objects of a kind, of one namespace or all, that both selectors match, ordered by name."""
        resource = _kind(kind)
        selection = Selection(namespace, label_matcher(labels), field_matcher(fields, resource))
        with self.lock:
            items = selection.of(self._collections[resource].sorted_now())
        return [item.object() for item in items]

    # --- what tests and loaders do ---

    def put(self, obj: Mapping[str, Any]) -> int:
        """Add or replace an object as it is, status and all, unchecked; returns its version."""
        resource = _resource(obj)
        with self.lock:
            meta = obj["metadata"]
            before = self._collections[resource].objects.get(_key(resource, meta))
            new = beginning(resource, obj)
            if before is not None:
                new = succeeding(resource, before.object(), new)
            return int(self._written(resource, before, new)["metadata"]["resourceVersion"])

    def compact(self, version: int | None = None) -> None:
        """Forget the changes up to `version` (default: all): watches and lists from before are told 410."""
        with self.lock:
            for collection in self._collections.values():
                collection.forget(self.version if version is None else version)

    # --- what the server reads ---

    def collection(self, resource: Resource) -> Collection:
        """The kind's collection; read it under `lock`."""
        return self._collections[resource]

    def listen(self, listener: Callable[[Resource], None]) -> None:
        """Call `listener` after each write, in the writer's thread."""
        with self.lock:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Resource], None]) -> None:
        with self.lock:
            self._listeners.remove(listener)

    # --- inside, under the lock ---

    def _existing(self, resource: Resource, key: str) -> Stored:
        item = self._collections[resource].objects.get(key)
        if item is None:
            raise not_found(resource, key.rpartition("/")[2])
        return item

    def _check_namespace(self, resource: Resource, meta: Mapping[str, Any]) -> None:
        namespace = self._existing(_NAMESPACES, meta["namespace"])
        if "deletionTimestamp" in namespace.object()["metadata"]:
            raise being_terminated(resource, meta["name"], meta["namespace"])

    def _written(
        self, resource: Resource, before: Stored | None, obj: dict[str, Any], *, dry: bool = False
    ) -> dict[str, Any]:
        """Keep `obj` at the next version; returns it. `dry`: only return it."""
        if dry:
            found = stored(resource, obj, self.version).object()
            if before is None:
                del found["metadata"]["resourceVersion"]
            return found
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        item = stored(resource, obj, self.version)
        self._add(resource, Event(self.version, before, item))
        return item.object()

    def _remove(self, item: Stored) -> None:
        self.version += 1
        self._add(item.resource, Event(self.version, item, None))

    def _add(self, resource: Resource, event: Event) -> None:
        self._collections[resource].write(event)
        for listener in self._listeners:
            listener(resource)

    def _empty(self, namespace: str) -> None:
        for collection in self._collections.values():
            if collection.resource.namespaced:
                for item in collection.sorted_now():
                    if item.namespace == namespace:
                        self._remove(item)


def _kind(kind: str) -> Resource:
    """The resource of a kind.

    :raises StatusError: 404, where it isn't served
    """
    for resource in RESOURCES:
        if resource.kind == kind:
            return resource
    raise not_served()


_NAMESPACES = _kind("Namespace")


def _resource(obj: Mapping[str, Any]) -> Resource:
    """The resource of an object.

    :raises StatusError: 400, where its kind and apiVersion aren't served
    """
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if (resource := BY_KIND.get((str(version), str(kind)))) is None:
        raise bad_request(f'no kind "{kind}" is registered for version "{version}"')
    return resource


def _key(resource: Resource, meta: Mapping[str, Any]) -> str:
    name = meta.get("name") or ""
    return f"{meta.get('namespace') or 'default'}/{name}" if resource.namespaced else name


def _identity(obj: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """apiVersion, kind and key of an object.

    :raises StatusError: 400, where it has none
    """
    resource, meta = _resource(obj), obj.get("metadata") or {}
    if not isinstance(meta, dict):
        raise bad_request("metadata must be a mapping")
    return resource.api_version, resource.kind, _key(resource, meta)


def _version_of(obj: Mapping[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])
