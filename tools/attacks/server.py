"""Attacks on the running app's server: requests and messages that no browser would send."""

import http.client
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from captioning.app.gate import TOO_MUCH, VISITOR_FILES, VISITOR_LIMIT
from tools.attacks.one_visitor import resident
from tools.attacks.outcome import Outcome
from tools.attacks.raw_requests import UPLOAD, Peak, chunk, fetch, pour, raw, status, upload_head
from tools.attacks.visitor import MEBIBYTE, File, Refused, Visitor, closing_reply
from tools.attacks.visitors import good_file
from tools.browser import ROOT, serving

LIMIT = 50 * MEBIBYTE  # of one file
ROOM = 150_000_000  # bytes that the server may grow by while it refuses something
FORGOTTEN = 5  # seconds after which a visitor who left counts as gone
_OUTSIDE = ("etc/passwd", f"{ROOT}/pyproject.toml".lstrip("/"), "proc/self/environ")
_MARKS = (b"root:x:", b"[build-system]", b"PATH=")
_UP: tuple[str, ...] = (
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%252f",
    "....//",
    "..\\",
    "..%5c",
)
_UP += ("%c0%ae%c0%ae/",)
ROUTES: tuple[str, ...] = ("", "media/", "static/", "component/", "component/x/", "app/static/")
ROUTES += ("_stcore/bidi-components/", "_stcore/upload_file/", "_stcore/agent/", "_stcore/")


def oversize(visitor: Visitor, pid: int, size: int) -> Outcome:
    """A body far over the limit, with its length, with a false one, in chunks, without any."""
    outcome = Outcome(f"uploads of {size / 1e9:g} GB")
    ways: dict[str, tuple[Sequence[str], Callable[[bytes], bytes]]] = {
        "with its length": ([f"Content-Length: {size}"], bytes),
        "with a false length": (["Content-Length: 100"], bytes),
        "with no number": (["Content-Length: many"], bytes),
        "with a negative length": (["Content-Length: -1"], bytes),
        "in chunks": (["Transfer-Encoding: chunked"], chunk),
        "in chunks and with a length": (
            ["Transfer-Encoding: chunked", "Content-Length: 100"],
            chunk,
        ),
        "without a length": ([], bytes),
    }
    for name, (headers, as_sent) in ways.items():
        with outcome.attempt(name), Peak(pid) as peak, raw(visitor) as connection:
            connection.sendall(upload_head(visitor, *headers) + as_sent(UPLOAD))
            sent = pour(connection, size, as_sent)
            assert sent < 2 * LIMIT, f"{sent} bytes were taken"
            assert status(connection) in {0, 400, TOO_MUCH}, "it was not refused"
        if peak.most > ROOM:
            outcome.harm.append(f"{name}: the server grew by {peak.most / 1e6:.0f} MB")
        outcome.memory = max(outcome.memory or 0, peak.most)
    return outcome


def many_files(visitor: Visitor, pid: int, count: int) -> Outcome:
    """Small files without end, then large ones, by one visitor."""
    outcome = Outcome("uploads by one visitor, beyond the most that one may have")
    small, large = File("a.jpg", b"x"), File("b.jpg", bytes(LIMIT - 1000))
    taken = 0
    for _ in range(count):
        with outcome.attempt("a small file"):
            expected = 204 if taken < VISITOR_FILES else TOO_MUCH
            status = put(visitor, small)
            taken += status == 204
            assert status == expected, f"status {status} after {taken} files"
    outcome.note("small files taken", taken)
    visitor.leave()
    visitor.connect()
    taken = 0
    with Peak(pid) as peak:
        for _ in range(VISITOR_LIMIT // LIMIT + 5):
            with outcome.attempt("a large file"):
                taken += put(visitor, large) == 204
                assert taken * LIMIT <= VISITOR_LIMIT, f"{taken} large files were taken"
    outcome.note("large files taken", taken)
    outcome.memory = peak.most
    if peak.most > VISITOR_LIMIT + ROOM:
        outcome.harm.append(f"the server grew by {peak.most / 1e6:.0f} MB")
    return outcome


def put(visitor: Visitor, file: File) -> int:
    """Send a file; returns the status of the answer."""
    try:
        visitor.put([file])
    except Refused as refused:
        return refused.status
    except (ConnectionError, http.client.HTTPException):
        return TOO_MUCH  # refused while it was still being sent
    return 204


def unfinished(visitor: Visitor, other: Visitor, pid: int, count: int) -> Outcome:
    """Uploads that begin and never end, and requests that never begin, all held open."""
    outcome = Outcome("uploads held open, and requests never finished")
    with Peak(pid) as peak, ExitStack() as held:
        for _ in range(count):
            connection = held.enter_context(raw(visitor))
            with outcome.attempt("an upload"):
                head = upload_head(visitor, f"Content-Length: {LIMIT}")
                connection.sendall(head + UPLOAD)
                pour(connection, 4 * MEBIBYTE)
        for _ in range(count):
            connection = held.enter_context(raw(visitor))
            with outcome.attempt("a request"):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with outcome.attempt("another visitor meanwhile"):
            assert other.upload(good_file(7)).headline(), "no caption"
    outcome.memory = peak.most
    if peak.most > VISITOR_LIMIT + ROOM:
        outcome.harm.append(f"the server grew by {peak.most / 1e6:.0f} MB")
    return outcome


def forged(visitor: Visitor) -> Outcome:
    """What another site's page, or a stranger, could send."""
    outcome = Outcome("forged requests")
    path = f"/_stcore/upload_file/{visitor.session}/mine"
    credentials, evil = visitor.credentials(), {"Origin": "http://evil.example"}
    for method in ("PUT", "DELETE"):
        for headers in ({}, {"Cookie": credentials["Cookie"]}, {"X-Xsrftoken": "2|00|00|0"}):
            with (
                outcome.attempt(method),
                closing_reply(visitor.host, method, path, b"", headers) as reply,
            ):
                assert reply.status == 403, f"status {reply.status}"
    stranger = "/_stcore/upload_file/00000000-0000-0000-0000-000000000000/x"
    with outcome.attempt("an unknown session"):
        assert visitor.put_at(stranger, good_file(1)) == 400
    for way in ("GET", "OPTIONS"):
        for of in ("/_stcore/health", "/_stcore/host-config", path):
            with outcome.attempt(of), closing_reply(visitor.host, way, of, headers=evil) as reply:
                allowed = reply.headers.get("Access-Control-Allow-Origin", "")
                assert allowed not in {"*", evil["Origin"]}, f"{of} is open to {allowed}"
    with outcome.attempt("a socket"):
        address = f"ws://{visitor.host}/_stcore/stream"
        try:
            with connect(address, origin=Origin(evil["Origin"])):
                status = 101
        except InvalidStatus as error:
            status = error.response.status_code
        assert status == 403, f"the page of another site may open a session: {status}"
    return outcome


def paths(visitor: Visitor) -> Outcome:
    """Addresses that would lead out of the folders that are served."""
    outcome = Outcome("addresses of files outside of what is served")
    for route in ROUTES:
        for up in _UP:
            for outside in _OUTSIDE:
                for address in (f"/{route}{up * 12}{outside}", f"/{route}/{outside}"):
                    with outcome.attempt(address):
                        content = fetch(visitor, address)
                        assert not [mark for mark in _MARKS if mark in content], content[:200]
    return outcome


def commands() -> Iterator[tuple[str, BackMsg]]:
    """Messages that only somebody who develops the app should send."""
    for name in ("clear_cache", "set_run_on_save", "load_git_info", "debug_shutdown_runtime"):
        yield name, BackMsg(**{name: True})  # type: ignore[arg-type]
    yield "debug_disconnect_websocket", BackMsg(debug_disconnect_websocket=True)
    for name in ("install_skills", "dismiss_skills_nudge"):
        message = BackMsg()
        message.backend_operation_request.request_id = name
        getattr(message.backend_operation_request, name).SetInParent()
        yield name, message


def wild_values(visitor: Visitor) -> Iterator[tuple[str, dict[str, Any]]]:
    """Values that the page's widgets cannot have."""
    screen = visitor.screen
    model, beam = screen.widget("selectbox", "Model").id, screen.widget("slider", "Beam").id
    for name in ("/etc/passwd", str(ROOT / "conftest.py"), "../../x.pth", "", "x" * 10**6):
        yield model, {"string_value": name}
    for number in (1e6, -1.0, 0.0, float("nan"), float("inf"), 1e308):
        for slider in screen.of("slider"):
            yield slider.id, {"double_array_value": {"data": [number]}}
    yield beam, {"double_array_value": {"data": [1.0] * 1000}}
    yield beam, {"double_array_value": {"data": []}}
    yield beam, {"string_value": "a"}
    yield beam, {"json_value": "{" * 10_000}
    uploader = screen.widget("file_uploader").id
    known = [{"file_id": "../../etc/passwd", "name": "a"}, {"file_id": "", "name": "\0"}]
    yield uploader, {"file_uploader_state_value": {"uploaded_file_info": known}}
    yield uploader, {"bytes_value": b"\xff" * 1000}


def messages(address: str) -> Outcome:
    """Garbage, commands and values that no page would send; after each, another one is served."""
    outcome = Outcome("messages that no browser sends")
    draw = random.Random(0)
    whole = BackMsg()
    whole.rerun_script.query_string = "a=1&" * 100
    content = whole.SerializeToString()
    garbage = [b"", *(draw.randbytes(size) for size in (1, 10, 1000, 10**6, 4 * 10**6))]
    garbage += [content[:cut] for cut in range(1, len(content), 40)]
    garbage += [bytes(60 * MEBIBYTE), b"\x0a" * 5000]
    with Visitor(address) as other:
        before = ours()
        for each in garbage:
            with outcome.attempt(f"{each[:12]!r}, {len(each)} bytes"):
                with Visitor(address) as visitor:
                    send(visitor, each)
                served(other)
        for name, command in commands():
            with outcome.attempt(name):
                with Visitor(address) as visitor:
                    send(visitor, command)
                    assert visitor.rerun().of("file_uploader"), "the page is empty"
                assert ours() == before, f"files came or went: {ours() ^ before}"
                served(other)
        with Visitor(address) as visitor:
            values = list(wild_values(visitor))
        for widget, value in values:
            with outcome.attempt(f"{value!r:.60}"), Visitor(address) as visitor:
                visitor.set(widget, **value)
                screen = visitor.rerun()
                assert not screen.of("exception"), screen.of("exception")
                text = " ".join(screen.errors())
                assert not any(word in text for word in ("passwd", str(ROOT), "Error")), text
                served(other)
    return outcome


def send(visitor: Visitor, message: BackMsg | bytes) -> None:
    """Send a message that may be too large to be taken."""
    try:
        visitor.send(message)
        time.sleep(0.02)
    except ConnectionClosed:
        pass


def served(visitor: Visitor) -> None:
    """Whether a page still comes."""
    assert visitor.rerun().of("file_uploader"), "another visitor's page is empty"


def ours() -> set[Path]:
    """The files beside the app."""
    return {path for path in ROOT.iterdir() if path.name != ".git"}


def forgotten(address: str, pid: int, count: int) -> Outcome:
    """Visitors with much who leave: their files go soon after them."""
    outcome = Outcome("visitors who left 200 MB each")
    before = resident(pid)
    large = File("a.jpg", bytes(40 * 10**6))
    for _ in range(count):
        with outcome.attempt("a visitor"), Visitor(address) as visitor:
            visitor.choose(visitor.put([large] * 5))
            visitor.rerun()
    end = time.monotonic() + 10 * FORGOTTEN
    while (grown := resident(pid) - before) > ROOM and time.monotonic() < end:
        time.sleep(1)
        with Visitor(address):  # whose coming makes Streamlit look for those who are gone
            pass
    if grown > ROOM:
        outcome.harm.append(f"{grown / 1e6:.0f} MB are kept")
    outcome.memory = max(grown, 0)
    return outcome


def large_pictures(address: str, pid: int, count: int, side: int) -> Outcome:
    """Pictures that take much memory to decode, by many visitors at the same moment."""
    outcome = Outcome(f"pictures of {side} x {side} decoded at once")
    file = BytesIO()
    Image.effect_noise((side // 100, side // 100), 90).resize((side, side)).convert("RGB").save(
        file, "PNG", compress_level=1
    )
    one = side * side * 8  # bytes, as captioning.data.photo_memory has it
    with ExitStack() as stack, Peak(pid) as peak:
        visitors = [stack.enter_context(Visitor(address)) for _ in range(count)]
        for visitor in visitors:
            visitor.choose(visitor.put([File("large.png", file.getvalue())]))
        for visitor in visitors:
            visitor.ask()
        for visitor in visitors:
            with outcome.attempt("a large picture"):
                assert visitor.wait().headline(), "no caption"
    outcome.memory = peak.most
    allowed = 3 * one + count * len(file.getvalue()) + ROOM
    if peak.most > allowed:
        outcome.harm.append(f"the server grew by {peak.most / 1e6:.0f} MB")
    return outcome


def attacks(_folder: Path, scale: float = 1.0) -> Iterator[Outcome]:
    """All of them on one server, which has to survive; ``scale`` is for fewer."""
    several = int(300 * scale)
    ttl = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(FORGOTTEN)}
    with serving(**ttl) as (address, process):
        pid = process.pid
        with Visitor(address) as visitor, Visitor(address) as other:
            other.upload(good_file(3))
            yield oversize(visitor, pid, 5 * 10**9)
            yield forged(visitor)
            yield paths(visitor)
            yield many_files(visitor, pid, int(1000 * scale))
        with Visitor(address) as visitor, Visitor(address) as other:
            yield unfinished(visitor, other, pid, several)
        yield messages(address)
        yield forgotten(address, pid, 5)
        yield large_pictures(address, pid, max(2, int(6 * scale)), 6000 if scale == 1 else 3000)
        survived = Outcome("the server after all of it", tried=1)
        if process.poll() is not None:
            survived.harm.append(f"it ended with status {process.poll()}")
        yield survived
