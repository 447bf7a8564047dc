"""What the agent knows of the cluster, and what of it has changed since the rules were last written.

Sources put objects in from the event loop's thread; the kernel thread takes the changed Services out.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, TypeVar

from ..errors import KcompileError
from ..spec.convert import bound_service, is_proxied
from ..spec.gcpause import gc_paused
from ..spec.objects import EndpointSlice, Node, Object, Service, ServiceCIDR
from .record import Record
from .serve.health import is_eligible
from .slim import slim_cidr, slim_node, slim_service, slim_slice
from .source import Kind

__all__ = ["Batch", "Given", "State"]

_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"

T = TypeVar("T", bound=Object)


class Given(NamedTuple):
    """The objects of one Service: None where it is gone, and its slices."""

    service: Service | None
    slices: tuple[EndpointSlice, ...]


class Batch(NamedTuple):
    """Everything that has changed. `services`: by ``namespace/name``. `whole`: kinds of which a change
    concerns every Service. `oldest`: the first event's moment by the monotonic clock, None without any.
    `triggers`: epoch seconds at which the cluster changed, as endpoints' annotations tell.
    `unreadable`: Services with an object that can't be read as it is now. `taken`: the moment of this, by the
    monotonic clock.
    """

    services: Mapping[str, Given]
    whole: frozenset[Kind]
    oldest: float | None
    triggers: tuple[float, ...]
    unreadable: frozenset[str]
    taken: float


class State:
    """The objects of a Sink. Every method may be called from any thread.

    A proxy's filters are applied here (cmd/kube-proxy/app/server.go, util/utils.go), so that a source may
    give everything. An object that is put again without a change that makes rules marks nothing.

    :param kinds: those that must be listed before `ready`
    :param wake: called after each change, without a lock held
    :param node: the name of the own Node; None: changes of any Node count
    """

    def __init__(
        self,
        kinds: Collection[Kind],
        record: Record,
        wake: Callable[[], None],
        log: logging.Logger,
        node: str | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._missing: set[Kind] = set(kinds)
        self._record, self._wake, self._log, self._node = record, wake, log, node
        self._services: dict[str, Service] = {}
        self._slices: dict[str, EndpointSlice] = {}
        self._bound: dict[str, dict[str, EndpointSlice]] = {}  # by Service, then by the slice's own key
        self._nodes: dict[str, Node] = {}
        self._cidrs: dict[str, ServiceCIDR] = {}
        self._failing: dict[Kind, str] = {}
        self._unreadable: dict[tuple[Kind, str], str] = {}  # and the Services of these objects
        self._dirty: set[str] = set()
        self._whole: set[Kind] = set()
        self._oldest: float | None = None
        self._triggers: list[float] = []
        self._started = time.time()
        for kind in kinds:
            record.source(kind, "listing")

    # ---- the kernel thread's side

    @property
    def ready(self) -> bool:
        """Whether every kind was listed once."""
        return not self._missing

    @property
    def marked(self) -> bool:
        """Whether there is something to take."""
        return bool(self._dirty or self._whole)

    def take(self) -> Batch:
        """What has changed since the last call, for a sync that begins now. Nothing is left marked."""
        with self._lock:
            self._record.syncing()  # what comes later is pending
            batch = Batch(
                {name: self._given(name) for name in self._dirty},
                frozenset(self._whole),
                self._oldest,
                tuple(self._triggers),
                frozenset(self._unreadable.values()),
                time.monotonic(),
            )
            self._dirty, self._whole, self._oldest, self._triggers = set(), set(), None, []
        return batch

    def dirty(self) -> set[str]:
        """The Services that are marked."""
        with self._lock:
            return set(self._dirty)

    def nodes(self) -> list[Node]:
        """Every Node that was given, by name."""
        with self._lock:
            return [self._nodes[name] for name in sorted(self._nodes)]

    def service_cidrs(self) -> list[ServiceCIDR]:
        """Every ServiceCIDR, by name."""
        with self._lock:
            return [self._cidrs[name] for name in sorted(self._cidrs)]

    def _given(self, name: str) -> Given:
        return Given(self._services.get(name), tuple(self._bound.get(name, {}).values()))

    # ---- the Sink

    def listed(
        self, kind: Kind, objects: Iterable[Object], unreadable: Iterable[tuple[str, str]] = ()
    ) -> None:
        """See `Sink`."""
        with gc_paused(), self._lock:
            left = set(self._held(kind)) - {f"{namespace}/{name}" for namespace, name in unreadable}
            changes = 0
            for item in objects:
                left.discard(_key(item))
                changes += self._put(kind, item, follows=False)
            for key in left:
                changes += self._remove(kind, key)
            self._missing.discard(kind)
            self._tell(kind, changes)
        self._record.source(kind, "watching")
        self._wake()

    def put(self, kind: Kind, item: Object) -> None:
        """See `Sink`."""
        with self._lock:
            self._tell(kind, self._put(kind, item, follows=True))
        self._wake()

    def gone(self, kind: Kind, namespace: str, name: str) -> None:
        """See `Sink`."""
        with self._lock:
            self._tell(kind, self._remove(kind, f"{namespace}/{name}"))
        self._wake()

    def bad(self, kind: Kind, namespace: str, name: str, error: KcompileError) -> None:
        """See `Sink`. The Service that the object is of keeps its last good rules."""
        with self._lock:
            key = f"{namespace}/{name}"
            held = self._slices.get(key) if kind == "EndpointSlice" else None
            service = _service(held) if held is not None else key
            self._unreadable[kind, key] = service
        if kind in ("Service", "EndpointSlice"):
            self._record.bad(service, str(error))
        else:
            self._record.source(kind, "watching", str(error))

    def failed(self, kind: Kind, error: KcompileError) -> None:
        """See `Sink`."""
        self._record.source(kind, "failing", str(error))
        with self._lock:
            news = self._failing.get(kind) != str(error)
            self._failing[kind] = str(error)
        if news:
            rules = "no rules are written yet" if kind in self._missing else "the rules stay as they are"
            self._log.warning("can't follow %ss: %s (%s)", kind, error, rules)

    def recovered(self, kind: Kind) -> None:
        """See `Sink`."""
        self._record.source(kind, "watching")
        with self._lock:
            news = self._failing.pop(kind, None) is not None
        if news:
            self._log.info("following %ss again", kind)

    def restarted(self, kind: Kind) -> None:
        """See `Sink`."""
        self._record.restarted_watch(kind)

    # ---- with the lock held; most return whether something is to be done

    def _tell(self, kind: Kind, changes: int) -> None:
        if changes:
            self._record.queued(kind, changes)

    def _held(self, kind: Kind) -> Mapping[str, Object]:
        tables: dict[Kind, Mapping[str, Object]] = {
            "Service": self._services,
            "EndpointSlice": self._slices,
            "Node": self._nodes,
            "ServiceCIDR": self._cidrs,
        }
        return tables.get(kind, {})

    def _put(self, kind: Kind, item: Object, *, follows: bool) -> bool:
        readable = self._can_be_read(kind, _key(item))
        return self._put_good(kind, item, follows=follows) or readable

    def _can_be_read(self, kind: Kind, key: str) -> bool:
        """The object is gone, or can be read; whether that is news of a Service."""
        service = self._unreadable.pop((kind, key), None)
        return service is not None and kind in ("Service", "EndpointSlice") and self._mark(service)

    def _put_good(self, kind: Kind, item: Object, *, follows: bool) -> bool:
        if isinstance(item, Service):
            return self._put_service(item)
        if isinstance(item, EndpointSlice):
            changed = self._put_slice(item)
            if changed and follows:
                self._triggered(item)
            return changed
        if isinstance(item, Node):
            self._see_own(item)
            counts = self._is_own(item.metadata.name)
            return self._put_whole(kind, self._nodes, slim_node(item), counts=counts)
        if isinstance(item, ServiceCIDR):
            return self._put_whole(kind, self._cidrs, slim_cidr(item))
        return False

    def _put_service(self, item: Service) -> bool:
        key = _key(item)
        if not is_proxied(item):
            return self._remove("Service", key)
        new, old = slim_service(item), self._services.get(key)
        self._services[key] = new
        return self._mark(key) if (old is None or not old.says_the_same(new)) else False

    def _put_slice(self, item: EndpointSlice) -> bool:
        key, name = _key(item), bound_service(item)
        if name is None:
            return self._remove("EndpointSlice", key)
        service = f"{item.metadata.namespace}/{name}"
        new, old = slim_slice(item, name), self._slices.get(key)
        if old is not None and _service(old) != service:
            self._remove("EndpointSlice", key)
            old = None
        self._slices[key] = self._bound.setdefault(service, {})[key] = new
        return self._mark(service) if (old is None or not old.says_the_same(new)) else False

    def _put_whole(self, kind: Kind, table: dict[str, T], new: T, *, counts: bool = True) -> bool:
        key = _key(new)
        old = table.get(key)
        table[key] = new
        return self._mark_whole(kind) if counts and (old is None or not old.says_the_same(new)) else False

    def _remove(self, kind: Kind, key: str) -> bool:
        self._can_be_read(kind, key)
        if kind == "Service":
            return self._services.pop(key, None) is not None and self._mark(key)
        if kind == "EndpointSlice":
            item = self._slices.pop(key, None)
            if item is None:
                return False
            service = _service(item)
            own = self._bound[service]
            del own[key]
            if not own:
                del self._bound[service]
            return self._mark(service)
        if kind == "Node":
            gone = self._nodes.pop(key, None)
            if gone is not None and self._is_own(gone.metadata.name):
                self._record.node(eligible=False)
                return self._mark_whole(kind)
            return False
        return kind == "ServiceCIDR" and self._cidrs.pop(key, None) is not None and self._mark_whole(kind)

    def _is_own(self, name: str) -> bool:
        return self._node is None or name == self._node

    def _see_own(self, node: Node) -> None:
        if node.metadata.name == self._node:
            self._record.node(eligible=is_eligible(node))

    def _mark(self, service: str) -> bool:
        self._dirty.add(service)
        return self._note()

    def _mark_whole(self, kind: Kind) -> bool:
        self._whole.add(kind)
        return self._note()

    def _note(self) -> bool:
        if self._oldest is None:
            self._oldest = time.monotonic()
        return True

    def _triggered(self, item: EndpointSlice) -> None:
        """Note when the cluster changed, where that was in this agent's time."""
        text = (item.metadata.annotations or {}).get(_TRIGGER)
        if text:
            with contextlib.suppress(ValueError):
                moment = datetime.fromisoformat(text).timestamp()
                if moment >= self._started:
                    self._triggers.append(moment)


def _key(item: Object) -> str:
    return f"{item.metadata.namespace}/{item.metadata.name}"


def _service(item: EndpointSlice) -> str:
    """The Service of a slice that is held."""
    return f"{item.metadata.namespace}/{bound_service(item)}"
