"""What the server takes from visitors: which requests, and how much of their files at a time.

Streamlit checks the size of one file, not how many there are: without a limit on all of them, one
visitor could fill the memory. Its protocol also has requests for whoever develops an app, which
every visitor could send: to empty the caches of all visitors, to list the files of the repository,
to install files beside the app.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import streamlit as st
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import get_instance
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from captioning.app.session import MAX_PHOTOS

VISITOR_LIMIT, TOTAL_LIMIT = 500_000_000, 2_000_000_000  # bytes of files, the unfinished included
VISITOR_FILES = 4 * MAX_PHOTOS
LONGEST = 51 * 2**20  # bytes: a file of 50 MB, the most that Streamlit is set to take, in its form
TOO_MUCH, FULL = 413, 507  # of HTTP: too large, and insufficient storage
_UPLOADS = "/_stcore/upload_file/"
_NOT_PARSED = 2**20  # bytes: a message to the browser that begins a run is far smaller
_ALLOWED = {"rerun_script", "stop_script", "file_urls_request", "app_heartbeat"}
_ALLOWED_OPERATIONS = {"deferred_file", "dataframe_chunk"}


class Kept(NamedTuple):
    """What Streamlit keeps: the sizes of one visitor's files, and the bytes of all visitors'."""

    sizes: list[int]
    total: int


def kept(session: str) -> Kept:
    """What is kept of a visitor and of all at this moment."""
    manager = get_instance().uploaded_file_mgr
    assert isinstance(manager, MemoryUploadedFileManager)  # the only kind that Streamlit has
    files = dict(manager.file_storage.get(session, {}))
    stats = [stat for family in manager.get_stats().values() for stat in family]
    return Kept([len(file.data) for file in files.values()], sum(s.byte_length for s in stats))


@dataclass
class Arriving:
    """A file that is on its way: whose it is, and how much of it is here."""

    session: str
    size: int = 0


class Gate:
    """ASGI middleware before Streamlit's own."""

    def __init__(self, app: ASGIApp, kept: Callable[[str], Kept] = kept) -> None:
        self._app, self._kept = app, kept
        self._arriving: list[Arriving] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed."""
        if scope["type"] == "websocket":
            await self._app(scope, _without_commands(receive), _without_path(send))
        elif scope["type"] == "http" and scope["method"] == "PUT":
            await self._take_file(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _take_file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a file while it arrives, and stop it where there is no more room."""
        file = Arriving(scope["path"].removeprefix(_UPLOADS).partition("/")[0])

        async def counted() -> Message:
            message = await receive()
            file.size += len(message.get("body", b""))
            self._require_room(file.session)
            return message

        self._arriving.append(file)
        try:
            await self._app(scope, counted, send if _is_short(scope) else _hanging_up(send))
        except ClientDisconnect:
            pass  # the visitor left, which is no defect
        finally:
            self._arriving.remove(file)

    def _require_room(self, session: str) -> None:
        """Refuse what would be too much, of this visitor or of all."""
        kept = self._kept(session)
        own = kept.sizes + [file.size for file in self._arriving if file.session == session]
        if len(own) > VISITOR_FILES or sum(own) > VISITOR_LIMIT:
            raise HTTPException(TOO_MUCH, "Too many files: remove some first.")
        if kept.total + sum(file.size for file in self._arriving) > TOTAL_LIMIT:
            raise HTTPException(FULL, "Too many visitors: try again later.")


def _is_short(scope: Scope) -> bool:
    """Whether a request says that it is no longer than the page would send it."""
    headers = Headers(scope=scope)
    length = headers.get("Content-Length", "")
    return "Transfer-Encoding" not in headers and length.isdecimal() and int(length) <= LONGEST


def _hanging_up(send: Send) -> Send:
    """End the connection with the answer: the server would read on, and for as long as it lasts."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return send_last


def _without_commands(receive: Receive) -> Receive:
    """Drop what only developers should ask for; Streamlit itself ends what it cannot parse."""

    async def allowed() -> Message:
        while True:
            message = await receive()
            if is_allowed(message.get("bytes") or b""):
                return message

    return allowed


def is_allowed(content: bytes) -> bool:
    """Whether a visitor may send this message; what is none is for Streamlit to refuse."""
    try:
        message = BackMsg.FromString(content)
    except Exception:  # of protobuf, which has several
        return True
    kind = message.WhichOneof("type")
    if kind == "backend_operation_request":
        return message.backend_operation_request.WhichOneof("payload") in _ALLOWED_OPERATIONS
    return kind is None or kind in _ALLOWED


def _without_path(send: Send) -> Send:
    """Keep to ourselves where on this machine the app is."""

    async def without(message: Message) -> None:
        content = message.get("bytes") or b""
        if 0 < len(content) < _NOT_PARSED:
            parsed = ForwardMsg.FromString(content)
            if parsed.WhichOneof("type") == "new_session":
                parsed.new_session.main_script_path = ""
                message = {**message, "bytes": parsed.SerializeToString()}
        await send(message)

    return without


def apologise(error: Exception) -> bool:
    """What the page shows of a defect; the server's log has all that is known of it."""
    if isinstance(error, MemoryError):
        st.error("There is too little memory for this now: try again later, or a smaller picture.")
    else:
        st.error(
            "Something went wrong on the server, which is no fault of yours: try again, and tell "
            "whoever runs the app if it happens again."
        )
    return True


# Small enough a part of the memory; otherwise Starlette writes files of 1 MB and more to the disk.
MultiPartParser.spool_max_size = VISITOR_LIMIT
MIDDLEWARE = [Middleware(Gate)]
