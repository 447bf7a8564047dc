"""A client of a running lab, over the two sockets in its folder: the API's, and that of its process."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from ..agent.serve.unix import connect_to
from ..apiserver.resources import RESOURCES, Resource
from ..apiserver.status import StatusError
from ..errors import InputError, KcompileError, KernelError
from .control import API_SOCKET, SOCKET, Standing
from .settings import LabSettings, lab_directory, no_lab
from .waiting import Named

__all__ = ["Remote", "path_of", "resource_of"]

_MERGE = "application/merge-patch+json"


class Remote:
    """The running lab `name`. Its methods raise StatusError for what the API refuses.

    :raises InputError: where there is none, or it doesn't run
    """

    def __init__(self, name: str) -> None:
        self.name, self.directory = name, lab_directory(name)
        settings = LabSettings.load(self.directory)
        if settings is None:
            raise no_lab(name)
        self.settings = settings
        try:
            self._token = (self.directory / "token").read_text()
        except FileNotFoundError:
            raise _not_running(name) from None

    # --- the API ---

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object, None where there is none."""
        try:
            found: dict[str, Any] = self.ask("GET", path_of(kind, namespace, name))
        except StatusError as error:
            if error.code != http.HTTPStatus.NOT_FOUND:
                raise
            return None
        return found

    def objects(self, kind: str, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        """The objects of a kind, of one namespace or (None) all."""
        query = f"?{urlencode({'labelSelector': labels})}" if labels else ""
        answer = self.ask("GET", path_of(kind, namespace or "") + query)
        return [{"kind": kind, "apiVersion": answer["apiVersion"], **item} for item in answer["items"]]

    def create(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        namespace = obj["metadata"].get("namespace", "")
        made: dict[str, Any] = self.ask("POST", path_of(obj["kind"], namespace), obj)
        return made

    def patch(self, kind: str, namespace: str, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Change an object by a JSON merge patch."""
        changed: dict[str, Any] = self.ask("PATCH", path_of(kind, namespace, name), change, _MERGE)
        return changed

    def delete(self, kind: str, namespace: str, name: str, grace: int | None = None) -> None:
        options = {} if grace is None else {"gracePeriodSeconds": grace}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", **options}
        self.ask("DELETE", path_of(kind, namespace, name), body)

    def ask(self, method: str, path: str, body: Any = None, form: str = "application/json") -> Any:
        """The answer of the API, decoded."""
        connection, answer = self._send(API_SOCKET, method, path, body, form)
        with connection:
            data = answer.read()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise _refusal(answer.status, data)
        return msgspec.json.decode(data)

    def stream(self, path: str) -> Iterator[bytes]:
        """The answer to GET `path`, piece by piece."""
        connection, answer = self._send(API_SOCKET, "GET", path, None, "application/json")
        with connection:
            if answer.status >= http.HTTPStatus.BAD_REQUEST:
                raise _refusal(answer.status, answer.read())
            while piece := answer.read1(1 << 16):
                yield piece

    def headers(self) -> dict[str, str]:
        """What the API wants to know of who asks."""
        return {"Authorization": f"Bearer {self._token}"}

    # --- the process ---

    def standing(self) -> Standing:
        """How far the lab is."""
        return msgspec.convert(self._told("GET", "/status"), Standing)

    def change_mode(self, mode: str) -> None:
        """Give all nodes rules of `mode`. Raises KernelError; the lab then keeps its mode."""
        self._told("POST", "/mode", {"mode": mode})

    def add_images(self, images: Mapping[str, Any]) -> None:
        """Map more images."""
        self._told("POST", "/images", images)

    def wait(self, objects: Sequence[Named], timeout: float, say: Callable[[list[str]], None]) -> None:
        """Wait until these are ready and all rules up to date; `say` is told what is waited for.

        Raises KernelError where a Pod won't become ready, or after `timeout` seconds.
        """
        body = {"objects": objects, "timeout": timeout}
        connection, answer = self._send(SOCKET, "POST", "/wait", body, "application/json")
        with connection:
            for line in answer:
                told = json.loads(line)
                if told.get("ready"):
                    return
                if "failed" in told:
                    raise KernelError(self._why(*told["failed"]))
                if told.get("late"):
                    raise KernelError(f"not ready after {timeout:.0f} s: {', '.join(told['waiting'][:5])}")
                say(told["waiting"])
        raise _not_running(self.name)

    def _why(self, namespace: str, pod: str, reason: str) -> str:
        """Why a Pod isn't ready, with the end of its log."""
        path = f"{path_of('Pod', namespace, pod)}/log?tailLines=1"
        try:
            lines = b"".join(self.stream(path)).decode(errors="replace").splitlines()
        except KcompileError:
            lines = []
        said = f"its log ends with: {lines[-1]}" if lines else reason
        return f"Pod {namespace}/{pod} isn't ready; {said} (kcompile lab logs {pod} -n {namespace})"

    def _told(self, method: str, path: str, body: Any = None) -> Any:
        connection, answer = self._send(SOCKET, method, path, body, "application/json")
        with connection:
            told = json.loads(answer.read())
        if answer.status != http.HTTPStatus.OK:
            raise KernelError(told["error"])
        return told

    def _send(
        self, socket: str, method: str, path: str, body: Any, form: str
    ) -> tuple[_Connection, http.client.HTTPResponse]:
        connection = _Connection("lab")
        try:
            connection.sock = connect_to(self.directory, socket)
            data = None if body is None else msgspec.json.encode(body)
            connection.request(method, path, data, {**self.headers(), "Content-Type": form})
            return connection, connection.getresponse()
        except (FileNotFoundError, ConnectionError, http.client.RemoteDisconnected):
            connection.close()
            raise _not_running(self.name) from None
        except PermissionError as error:
            connection.close()
            raise InputError(f"{error.filename}: {error.strerror} (a lab needs root)") from None


class _Connection(http.client.HTTPConnection):
    """A connection that is closed at the end of a block."""

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def resource_of(kind: str) -> Resource:
    """The resource of a kind that is served."""
    return next(each for each in RESOURCES if each.kind == kind)


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """Where the API has the objects of a kind, of one namespace or all; or one object."""
    resource = resource_of(kind)
    group = f"/apis/{resource.group}/{resource.version}" if resource.group else "/api/v1"
    where = f"/namespaces/{quote(namespace)}" if resource.namespaced and namespace else ""
    return f"{group}{where}/{resource.plural}{f'/{quote(name)}' if name else ''}"


def _refusal(code: int, body: bytes) -> StatusError:
    try:
        status = msgspec.json.decode(body)
        return StatusError(code, status["reason"], status["message"], status.get("details"))
    except (msgspec.DecodeError, KeyError, TypeError):
        return StatusError(code, "Unknown", body.decode(errors="replace")[:200])


def _not_running(name: str) -> InputError:
    again, gone = f"kcompile lab up --name {name} starts it again", f"kcompile lab down --name {name}"
    return InputError(f"lab {name} doesn't run: {again}, {gone} removes what there is of it")
