"""What each verb does with the store."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING

import msgspec

from . import status
from .bodies import check_accept, delete_options, headers, json_answer, object_in, text_answer
from .listing import list_body
from .options import Options
from .paths import Target, target
from .status import StatusError
from .store import Store
from .streams import Containers
from .watch import Bell, Pace, watch_lines

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Rest"]

_VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2+kcompile",
    "gitCommit": "unknown",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}


class Rest:
    """Answers requests out of `store`.

    `tokens`: the bearer tokens of which every request must have one; None where none is asked for.
    `containers`: who answers for the containers of pods, if anyone does.
    """

    def __init__(
        self,
        store: Store,
        bell: Bell,
        pace: Pace,
        tokens: Collection[str] | None,
        containers: Containers | None,
    ) -> None:
        self._store, self._bell, self._pace, self._tokens = store, bell, pace, tokens
        self._containers = containers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._authenticate(request)
            if request.path in ("/readyz", "/livez", "/healthz"):
                return text_answer(200, "ok")
            if request.path == "/version":
                return await json_answer(request, 200, msgspec.json.encode(_VERSION))
            asked = target(request.path)
            if asked is None:
                return text_answer(404, "404 page not found\n")
            return await self._verb(request, asked)
        except StatusError as error:
            return await self._failed(request, error)

    async def _failed(self, request: web.Request, error: StatusError) -> web.StreamResponse:
        retry = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
        return await json_answer(request, error.code, error.body(), retry)

    def _authenticate(self, request: web.Request) -> None:
        if self._tokens is None:
            return
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not any(hmac.compare_digest(given.encode(), each.encode()) for each in self._tokens):
            raise status.unauthorized()

    async def _verb(self, request: web.Request, asked: Target) -> web.StreamResponse:
        check_accept(request.headers.get("Accept", ""))
        if asked.name:
            verbs = {"GET": self._get, "PUT": self._update, "DELETE": self._delete}
        else:
            verbs = {"GET": self._list, "DELETE": self._delete_all}
            if asked.namespace or not asked.resource.namespaced:
                verbs["POST"] = self._create
        verb: Callable[[web.Request, Target], Awaitable[web.StreamResponse]] | None
        verb = verbs.get(request.method)
        if verb is None:
            raise status.method_not_allowed()
        return await verb(request, asked)

    # --- verbs ---

    async def _get(self, request: web.Request, asked: Target) -> web.StreamResponse:
        obj = self._store.get(asked.resource.kind, asked.namespace, asked.name)
        return await json_answer(request, 200, msgspec.json.encode(obj))

    async def _list(self, request: web.Request, asked: Target) -> web.StreamResponse:
        options = Options.read(asked.resource, asked.namespace, request.query)
        if options.watch:
            return await self._watch(request, asked, options)
        body = list_body(self._store, self._store.collection(asked.resource), options)
        return await json_answer(request, 200, body)

    async def _watch(self, request: web.Request, asked: Target, options: Options) -> web.StreamResponse:
        from aiohttp import web

        response = web.StreamResponse(headers=headers())
        response.content_type = "application/json"
        response.enable_chunked_encoding()
        collection = self._store.collection(asked.resource)
        with contextlib.suppress(ConnectionResetError):  # the client has gone; that is no failure
            await response.prepare(request)
            async for chunk in watch_lines(self._store, collection, options, self._bell, self._pace):
                await response.write(chunk)
            await response.write_eof()
        return response

    async def _create(self, request: web.Request, asked: Target) -> web.StreamResponse:
        obj = await object_in(request, asked)
        return await json_answer(request, 201, msgspec.json.encode(self._store.create(obj)))

    async def _update(self, request: web.Request, asked: Target) -> web.StreamResponse:
        obj = await object_in(request, asked)
        return await json_answer(request, 200, msgspec.json.encode(self._store.update(obj)))

    async def _delete(self, request: web.Request, asked: Target) -> web.StreamResponse:
        resource = asked.resource
        options = await delete_options(request)
        gone = self._store.delete(
            resource.kind,
            asked.namespace,
            asked.name,
            options.get("preconditions") or {},
            grace=options.get("gracePeriodSeconds"),
            propagation=options.get("propagationPolicy"),
        )
        if not resource.answers_deleted and "deletionTimestamp" not in gone["metadata"]:
            gone = status.success(resource, asked.name, gone["metadata"]["uid"])
        return await json_answer(request, 200, msgspec.json.encode(gone))

    async def _delete_all(self, request: web.Request, asked: Target) -> web.StreamResponse:
        await delete_options(request)
        options = Options.read(asked.resource, asked.namespace, request.query)
        collection = self._store.collection(asked.resource)
        with self._store.lock:
            body = list_body(self._store, collection, options)
            for item in options.selection.of(collection.sorted_now()):
                self._store.delete(asked.resource.kind, item.namespace, item.key.rpartition("/")[2])
        return await json_answer(request, 200, body)
