"""What each verb does with the objects of the store."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from . import status
from .bodies import delete_options, dry_run, headers, json_answer, object_in, patch_in
from .listing import list_body, listed
from .negotiate import check_accept, wants_table
from .options import Options
from .paths import Target
from .records import stored
from .store import Store
from .strictness import Strictness, patch_refused
from .tables import TableLines, table_body
from .watch import Bell, Pace, watch_lines

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Verbs"]

Verb = Callable[["web.Request", Target], Awaitable["web.StreamResponse"]]


class Verbs:
    """Answers what is asked of objects. `pace`: of watches."""

    def __init__(self, store: Store, bell: Bell, pace: Pace) -> None:
        self._store, self._bell, self._pace = store, bell, pace

    async def answer(self, request: web.Request, asked: Target) -> web.StreamResponse:
        """Answer a request for an object, for its status or for a collection.

        :raises StatusError: for all that can't be done
        """
        check_accept(request.headers.get("Accept", ""), tables=request.method == "GET")
        verbs: dict[str, Verb]
        if asked.part:
            verbs = {"GET": self._get, "PUT": self._update, "PATCH": self._patch}
        elif asked.name:
            verbs = {"GET": self._get, "PUT": self._update, "PATCH": self._patch, "DELETE": self._delete}
        else:
            verbs = {"GET": self._list, "DELETE": self._delete_all}
            if asked.namespace or not asked.resource.namespaced:
                verbs["POST"] = self._create
        if (verb := verbs.get(request.method)) is None:
            raise status.method_not_allowed()
        return await verb(request, asked)

    async def _get(self, request: web.Request, asked: Target) -> web.StreamResponse:
        obj = self._store.get(asked.resource.kind, asked.namespace, asked.name)
        if not wants_table(request.headers.get("Accept", "")):
            return await _object(request, 200, obj)
        version = obj["metadata"]["resourceVersion"]
        item = stored(asked.resource, obj, int(version))
        include = request.query.get("includeObject", "")
        body = table_body(asked.resource, [item], {"resourceVersion": version}, include)
        return await json_answer(request, 200, body)

    async def _list(self, request: web.Request, asked: Target) -> web.StreamResponse:
        options = Options.read(asked.resource, asked.namespace, request.query)
        if options.watch:
            return await self._watch(request, asked, options)
        page = listed(self._store, self._store.collection(asked.resource), options)
        if wants_table(request.headers.get("Accept", "")):
            include = request.query.get("includeObject", "")
            body = table_body(asked.resource, page.items, page.meta, include)
        else:
            body = list_body(asked.resource, page)
        return await json_answer(request, 200, body)

    async def _watch(self, request: web.Request, asked: Target, options: Options) -> web.StreamResponse:
        from aiohttp import web

        form = None
        if wants_table(request.headers.get("Accept", "")):
            form = TableLines(asked.resource, request.query.get("includeObject", ""))
        response = web.StreamResponse(headers=headers())
        response.content_type = "application/json"
        response.enable_chunked_encoding()
        collection = self._store.collection(asked.resource)
        with contextlib.suppress(ConnectionResetError):  # the client has gone; that is no failure
            await response.prepare(request)
            async for chunk in watch_lines(self._store, collection, options, self._bell, self._pace, form):
                await response.write(chunk)
            await response.write_eof()
        return response

    async def _create(self, request: web.Request, asked: Target) -> web.StreamResponse:
        strictness, body = Strictness.read(request.query), await object_in(request, asked)
        obj, warnings = strictness.read_fields(asked.resource, body.obj, body.raw)
        made = self._store.create(obj, dry=_dry(request))
        return await _object(request, 201, made, warnings)

    async def _update(self, request: web.Request, asked: Target) -> web.StreamResponse:
        strictness, body = Strictness.read(request.query), await object_in(request, asked)
        obj, warnings = strictness.read_fields(asked.resource, body.obj, body.raw)
        write = self._store.update_status if asked.part else self._store.update
        return await _object(request, 200, write(obj, dry=_dry(request)), warnings)

    async def _patch(self, request: web.Request, asked: Target) -> web.StreamResponse:
        strictness, (patch, form, raw) = Strictness.read(request.query), await patch_in(request)
        warnings: list[str] = []

        def settled(obj: dict[str, Any]) -> dict[str, Any]:
            try:
                kept, said = strictness.read_fields(asked.resource, obj)
            except status.StatusError as error:
                raise patch_refused(raw, error) from None
            warnings.extend(said)
            return kept

        where = (asked.resource.kind, asked.namespace, asked.name)
        made = self._store.patch(*where, patch, form, asked.part, settled=settled, dry=_dry(request))
        return await _object(request, 200, made, warnings)

    async def _delete(self, request: web.Request, asked: Target) -> web.StreamResponse:
        resource, options = asked.resource, await delete_options(request)
        gone = self._store.delete(
            resource.kind,
            asked.namespace,
            asked.name,
            options.get("preconditions") or {},
            grace=options.get("gracePeriodSeconds"),
            propagation=options.get("propagationPolicy"),
            dry=_dry(request) or dry_run(options.get("dryRun") or ()),
        )
        if not resource.answers_deleted and "deletionTimestamp" not in gone["metadata"]:
            gone = status.success(resource, asked.name, gone["metadata"]["uid"])
        return await _object(request, 200, gone)

    async def _delete_all(self, request: web.Request, asked: Target) -> web.StreamResponse:
        given = await delete_options(request)
        dry = _dry(request) or dry_run(given.get("dryRun") or ())
        options = Options.read(asked.resource, asked.namespace, request.query)
        with self._store.lock:
            page = listed(self._store, self._store.collection(asked.resource), options)
            for item in page.items:
                self._store.delete(
                    asked.resource.kind,
                    item.namespace,
                    item.key.rpartition("/")[2],
                    grace=given.get("gracePeriodSeconds"),
                    propagation=given.get("propagationPolicy"),
                    dry=dry,
                )
        return await json_answer(request, 200, list_body(asked.resource, page))


def _dry(request: web.Request) -> bool:
    return dry_run(request.query.getall("dryRun", []))


async def _object(
    request: web.Request, code: int, obj: dict[str, Any], warnings: Sequence[str] = ()
) -> web.Response:
    """An object, and what to warn of (RFC 7234, code 299)."""
    quoted = (text.replace('"', '\\"') for text in warnings)
    more = {"Warning": ", ".join(f'299 - "{text}"' for text in quoted)} if warnings else {}
    return await json_answer(request, code, msgspec.json.encode(obj), more)
