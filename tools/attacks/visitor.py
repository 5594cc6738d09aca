"""One visitor of the running app who speaks Streamlit's protocol, as the page in a browser does.

A browser takes a hundred megabytes; this takes next to nothing, so fifty can come at once. The
messages are Streamlit's own protobufs, over a WebSocket; files go by PUT with the session's
address and the token against forged requests.
"""

import http.client
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs, UploadedFileInfo
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

SECONDS = 120.0  # for any answer; the page itself would wait for ever
MEBIBYTE = 2**20


class Refused(Exception):
    """The server did not take a file; ``status`` is what it answered."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass(frozen=True)
class File:
    """A file to upload."""

    name: str
    content: bytes


@dataclass
class Screen:
    """What the page shows: its elements by place, and how each run of the script ended."""

    elements: dict[tuple[int, ...], Any] = field(default_factory=dict)
    fragments: dict[tuple[int, ...], str] = field(default_factory=dict)

    def take(self, message: ForwardMsg) -> None:
        """Apply one message."""
        kind = message.WhichOneof("type")
        if kind == "new_session" and not message.metadata.run.fragment_ids:
            self.elements.clear()
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            place = tuple(message.metadata.delta_path)
            self.elements[place] = message.delta.new_element
            self.fragments[place] = message.delta.fragment_id

    def of(self, kind: str) -> list[Any]:
        """All elements of a kind, from the top of the page to its bottom."""
        places = sorted(self.elements)
        chosen = [self.elements[place] for place in places]
        return [getattr(each, kind) for each in chosen if each.WhichOneof("type") == kind]

    def headline(self) -> str | None:
        """The caption at the top, if there is one."""
        return next((each.body for each in self.of("heading") if each.tag == "h2"), None)

    def errors(self) -> list[str]:
        """What stands in red boxes."""
        return [alert.body for alert in self.of("alert") if alert.format == alert.ERROR]

    def pictures(self) -> list[Any]:
        """The pictures of the result: all but those of the examples."""
        images = [image for images in self.of("imgs") for image in images.imgs]
        return [image for image in images if not image.alt.startswith("Example")]

    def widget(self, kind: str, label: str = "") -> Any:
        """The first widget of a kind whose label begins so."""
        return next(each for each in self.of(kind) if each.label.startswith(label))

    def fragment_of(self, kind: str) -> str:
        """The fragment that the first element of a kind is in."""
        places = sorted(p for p, e in self.elements.items() if e.WhichOneof("type") == kind)
        return self.fragments[places[0]]


class Visitor:
    """A session with the app at ``address``; ``seen`` gets every message as it came.

    Raises AssertionError where the server ends the conversation or does not answer in time.
    """

    def __init__(self, address: str, seen: Callable[[bytes], None] = lambda _: None) -> None:
        self.host = urlsplit(address).netloc
        self.address, self.seen = address, seen
        self.screen, self.states = Screen(), dict[str, WidgetState]()
        self.files: list[UploadedFileInfo] = []
        self.session = ""
        self.socket: ClientConnection | None = None
        self.token = self._token()
        self.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _token(self) -> str:
        with closing_reply(self.host, "GET", "/_stcore/health") as reply:
            cookies = reply.headers.get_all("Set-Cookie") or []
        found = [each.split(";")[0].split("=", 1)[1] for each in cookies if "_xsrf" in each]
        assert found, "the server gave no token against forged requests"
        return found[0]

    def connect(self, again: bool = False) -> None:
        """Open the page; ``again`` goes on with the session after a lost connection."""
        protocols = ["streamlit", self.token, *([self.session] if again else [])]
        opening = connect(
            f"ws://{self.host}/_stcore/stream",
            subprotocols=[*map(Subprotocol, protocols)],
            origin=Origin(self.address),
            additional_headers={"Cookie": f"_streamlit_xsrf={self.token}"},
            max_size=None,
            ping_interval=None,
            open_timeout=SECONDS,
        )
        self._opened = ExitStack()
        self.socket = self._opened.enter_context(opening)
        if not again:
            self.states, self.files = {}, []
        self.rerun()

    def leave(self) -> None:
        """Close the connection, as closing the page does, whatever the server is at."""
        if self.socket is not None:
            self.socket.close_socket()
            self.socket = None
            self._opened.close()

    def send(self, message: BackMsg | bytes) -> None:
        """Send one message, or bytes that are none."""
        assert self.socket is not None, "this visitor has left"
        content = message if isinstance(message, bytes) else message.SerializeToString()
        self.socket.send(content)

    def messages(self) -> Iterator[ForwardMsg]:
        """What comes from the server, one by one."""
        assert self.socket is not None, "this visitor has left"
        while True:
            try:
                content = self.socket.recv(timeout=SECONDS)
            except TimeoutError:
                raise AssertionError(f"no message for {SECONDS:.0f} s") from None
            except Exception as error:
                raise AssertionError(f"the connection ended: {error}") from None
            assert isinstance(content, bytes)
            self.seen(content)
            message = ForwardMsg.FromString(content)
            self.screen.take(message)
            if message.WhichOneof("type") == "new_session":
                self.session = message.new_session.initialize.session_id
            yield message

    def ask(self, fragment: str = "") -> None:
        """Ask for a run of the script, without waiting for it."""
        message = BackMsg()
        message.rerun_script.widget_states.widgets.extend(self.states.values())
        message.rerun_script.fragment_id = fragment
        self.send(message)
        for name in [n for n, state in self.states.items() if state.HasField("trigger_value")]:
            del self.states[name]

    def wait(self) -> Screen:
        """Read until the script has run to its end."""
        ends = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
        for message in self.messages():
            if message.WhichOneof("type") == "script_finished":
                assert message.script_finished != ForwardMsg.FINISHED_WITH_COMPILE_ERROR
                if message.script_finished in ends:
                    break
        return self.screen

    def rerun(self, fragment: str = "") -> Screen:
        """Run the script, or a fragment of it, to its end."""
        self.ask(fragment)
        return self.wait()

    def set(self, widget: str, **value: Any) -> None:
        """Give a widget its value, which the next run will see."""
        self.states[widget] = WidgetState(id=widget, **value)

    def addresses(self, names: Sequence[str]) -> list[FileURLs]:
        """Ask the server where to put files."""
        message = BackMsg()
        message.file_urls_request.request_id = str(uuid.uuid4())
        message.file_urls_request.file_names.extend(names)
        message.file_urls_request.session_id = self.session
        self.send(message)
        for reply in self.messages():
            if reply.WhichOneof("type") == "file_urls_response":
                assert not reply.file_urls_response.error_msg, reply.file_urls_response.error_msg
                return list(reply.file_urls_response.file_urls)
        raise AssertionError("unreachable")

    def put(self, files: Iterable[File]) -> list[UploadedFileInfo]:
        """Send files; raises Refused where the server does not take one."""
        files = list(files)
        information = []
        for file, urls in zip(files, self.addresses([f.name for f in files]), strict=True):
            status = self.put_at(urls.upload_url, file)
            if status != 204:
                raise Refused(status)
            information.append(
                UploadedFileInfo(
                    name=file.name, size=len(file.content), file_id=urls.file_id, file_urls=urls
                )
            )
        return information

    def put_at(self, path: str, file: File) -> int:
        """Send one file to an address of the server; returns the status of its answer."""
        kind, body = multipart(file)
        headers = {"Content-Type": kind, **self.credentials()}
        with closing_reply(self.host, "PUT", path, body, headers) as reply:
            return reply.status

    def credentials(self) -> dict[str, str]:
        """The headers that prove that a request comes from the page."""
        return {"X-Xsrftoken": self.token, "Cookie": f"_streamlit_xsrf={self.token}"}

    def choose(self, files: Sequence[UploadedFileInfo]) -> None:
        """Let the uploader hold these files, which the next run will see."""
        self.files = list(files)
        widget = self.screen.widget("file_uploader").id
        self.set(widget, file_uploader_state_value={"uploaded_file_info": self.files})

    def upload(self, *files: File) -> Screen:
        """Replace what was uploaded by these files, and read the page."""
        self.choose(self.put(files))
        return self.rerun()

    def remove_all(self) -> Screen:
        """Remove all files, as a click at each cross does."""
        for file in self.files:
            path = file.file_urls.delete_url
            with closing_reply(self.host, "DELETE", path, headers=self.credentials()) as reply:
                assert reply.status == 204, f"a file could not be removed: {reply.status}"
        self.choose([])
        return self.rerun()

    def get(self, path: str) -> tuple[int, bytes]:
        """What is at an address of the server, such as that of a picture."""
        with closing_reply(self.host, "GET", path) as reply:
            return reply.status, reply.content


@dataclass(frozen=True)
class Reply:
    """An answer of the server, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing left to close."""


def closing_reply(
    host: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection(host, timeout=SECONDS)
    try:
        connection.request(method, path, body, dict(headers or {}))
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers, reply.read())
    finally:
        connection.close()


def multipart(file: File) -> tuple[str, bytes]:
    """A file as a form's body, and its content type; names are escaped as browsers do.

    https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    """
    boundary = uuid.uuid4().hex
    name = file.name
    for character in '\n\r"':
        name = name.replace(character, quote(character))
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    body = head.encode() + file.content + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body
