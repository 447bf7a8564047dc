"""The subresources that aren't the object itself: scale, binding, eviction, token, finalize."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from . import status
from .bodies import check_types, dry_run, json_answer, mapping_in, patch_in, typed_in
from .deletion import now
from .patch import patched
from .paths import Target
from .schema import of_kind
from .store import Store
from .tables.text import selector
from .tokens import Tokens

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Parts"]

Plain = dict[str, Any]
_DONE = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_EVICTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
_DEFAULT_SECONDS = 3600
_LEAST_SECONDS = 600


class Parts:
    """Answers what is asked of subresources. `tokens`: where new ones go."""

    def __init__(self, store: Store, tokens: Tokens) -> None:
        self._store, self._tokens = store, tokens
        self._parts: dict[tuple[str, str], Callable[[web.Request, Target], Awaitable[tuple[int, Plain]]]] = {
            ("GET", "scale"): self._get_scale,
            ("PUT", "scale"): self._put_scale,
            ("PATCH", "scale"): self._patch_scale,
            ("POST", "binding"): self._bind,
            ("POST", "eviction"): self._evict,
            ("POST", "token"): self._token,
            ("PUT", "finalize"): self._finalize,
        }

    async def answer(self, request: web.Request, asked: Target) -> web.StreamResponse:
        """Answer a request for a subresource.

        :raises StatusError: for all that can't be done
        """
        part = self._parts.get((request.method, asked.part))
        if part is None:
            raise status.method_not_allowed()
        code, found = await part(request, asked)
        return await json_answer(request, code, msgspec.json.encode(found))

    # --- scale ---

    async def _get_scale(self, _request: web.Request, asked: Target) -> tuple[int, Plain]:
        return 200, _scale(self._store.get(asked.resource.kind, asked.namespace, asked.name))

    async def _put_scale(self, request: web.Request, asked: Target) -> tuple[int, Plain]:
        wanted = await typed_in(request, "autoscaling/v1", "Scale")
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        return self._scaled(request, asked, wanted, version)

    async def _patch_scale(self, request: web.Request, asked: Target) -> tuple[int, Plain]:
        patch, form, _ = await patch_in(request)
        before = _scale(self._store.get(asked.resource.kind, asked.namespace, asked.name))
        schema = of_kind("autoscaling/v1", "Scale")
        wanted = patched(before, patch, form, schema)
        check_types(wanted, schema)
        return self._scaled(request, asked, wanted)

    def _scaled(
        self, request: web.Request, asked: Target, wanted: Plain, version: str | None = None
    ) -> tuple[int, Plain]:
        replicas = (wanted.get("spec") or {}).get("replicas") or 0
        if replicas < 0:
            message = f"Invalid value: {replicas}: must be greater than or equal to 0"
            cause = status.Cause("FieldValueInvalid", message, "spec.replicas")
            raise status.invalid("Scale", asked.name, [cause], "autoscaling")
        patch: Plain = {"spec": {"replicas": replicas}}
        if version:
            patch["metadata"] = {"resourceVersion": version}
        where = (asked.resource.kind, asked.namespace, asked.name)
        return 200, _scale(self._store.patch(*where, patch, dry=_dry(request)))

    # --- the others ---

    async def _bind(self, request: web.Request, asked: Target) -> tuple[int, Plain]:
        target = (await typed_in(request, "v1", "Binding")).get("target") or {}
        if target.get("kind", "Node") != "Node" or not target.get("name"):
            cause = status.Cause("FieldValueRequired", "Required value", "target.name")
            raise status.invalid("Binding", asked.name, [cause])
        self._store.bind(asked.namespace, asked.name, target["name"], dry=_dry(request))
        return 201, _DONE

    async def _evict(self, request: web.Request, asked: Target) -> tuple[int, Plain]:
        """There are no PodDisruptionBudgets that could refuse it."""
        options = (await typed_in(request, "policy/v1", "Eviction")).get("deleteOptions") or {}
        where, dry = (
            ("Pod", asked.namespace, asked.name),
            _dry(request) or dry_run(options.get("dryRun") or ()),
        )
        said: Plain = {"status": {"conditions": [_EVICTED | {"lastTransitionTime": now()}]}}
        self._store.patch(*where, said, "strategic", "status", dry=dry)
        preconditions = options.get("preconditions") or {}
        self._store.delete(*where, preconditions, grace=options.get("gracePeriodSeconds"), dry=dry)
        return 201, _DONE

    async def _token(self, request: web.Request, asked: Target) -> tuple[int, Plain]:
        spec = (await mapping_in(request)).obj.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        account = self._store.get("ServiceAccount", asked.namespace, asked.name)
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        if not isinstance(seconds, int) or seconds < _LEAST_SECONDS:
            message = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            cause = status.Cause("FieldValueInvalid", message, "spec.expirationSeconds")
            raise status.invalid("TokenRequest", asked.name, [cause], "authentication.k8s.io")
        meta = {"name": asked.name, "namespace": asked.namespace, "creationTimestamp": now()}
        made = {"token": self._tokens.issue(seconds), "expirationTimestamp": now(seconds)}
        return 201, {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": meta | {"uid": account["metadata"]["uid"]},
            "spec": {"audiences": spec.get("audiences") or [], "expirationSeconds": seconds},
            "status": made,
        }

    async def _finalize(self, request: web.Request, asked: Target) -> tuple[int, Plain]:
        wanted = await typed_in(request, "v1", "Namespace")
        found = self._store.get("Namespace", "", asked.name)
        if (wanted.get("spec") or {}).get("finalizers"):
            return 200, found
        self._store.finalize(asked.name)
        return 200, {**found, "spec": {}}


def _dry(request: web.Request) -> bool:
    return dry_run(request.query.getall("dryRun", []))


def _scale(obj: Plain) -> Plain:
    """The Scale of a workload: scaleFromDeployment and its like."""
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, found = obj.get("spec") or {}, obj.get("status") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in names if name in obj["metadata"]},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {"replicas": found.get("replicas", 0), "selector": selector(spec.get("selector"))},
    }
