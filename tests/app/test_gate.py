"""What the server takes from visitors, with Streamlit replaced by applications that do little."""

import asyncio

import pytest
from starlette.exceptions import HTTPException
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from captioning.app import gate
from captioning.app.gate import FULL, LONGEST, TOO_MUCH, Gate, Kept, is_allowed

PATH = "/_stcore/upload_file/ours/file"


async def read_all(scope, receive, send):
    """An application that reads a body and says that it has done so."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})


def put(application, sizes, headers=(), path=PATH):
    """What is sent when a body comes in pieces of these sizes."""
    sent, pieces = [], iter(sizes)

    async def receive():
        size = next(pieces, None)
        return {"type": "http.request", "body": bytes(size or 0), "more_body": size is not None}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": path, "headers": list(headers)}
    asyncio.run(application(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    ("kept", "sizes", "status"),
    [
        (Kept([], 0), [1000], None),
        (Kept([300], 300), [300, 300], None),
        (Kept([300], 300), [300, 401], TOO_MUCH),
        (Kept([900], 900), [101], TOO_MUCH),
        (Kept([0] * 4, 0), [1], None),
        (Kept([0] * 5, 0), [1], TOO_MUCH),
        (Kept([], 2900), [100], None),
        (Kept([], 2900), [101], FULL),
    ],
)
def test_files_are_taken_until_a_visitor_or_all_have_too_much(monkeypatch, kept, sizes, status):
    monkeypatch.setattr(gate, "VISITOR_LIMIT", 1000)
    monkeypatch.setattr(gate, "TOTAL_LIMIT", 3000)
    monkeypatch.setattr(gate, "VISITOR_FILES", 5)
    application = Gate(read_all, lambda session: kept)
    if status is None:
        assert put(application, sizes)[0]["status"] == 204
    else:
        with pytest.raises(HTTPException) as raised:
            put(application, sizes)
        assert raised.value.status_code == status


@pytest.mark.parametrize(("second", "fits"), [(400, True), (401, False)])
def test_what_is_still_arriving_counts_and_what_has_ended_does_not(monkeypatch, second, fits):
    monkeypatch.setattr(gate, "VISITOR_LIMIT", 1000)

    async def begin_another(scope, receive, send):
        await receive()  # the first piece; while it waits for more, a second file comes

        async def receive_another():
            return {"type": "http.request", "body": bytes(second)}

        await busy(scope, receive_another, send)

    busy = Gate(read_all, lambda session: Kept([], 0))
    first = Gate(begin_another, lambda session: Kept([], 0))
    first._arriving = busy._arriving  # as if one application had done both
    if fits:
        assert put(first, [600])[0]["status"] == 204
    else:
        with pytest.raises(HTTPException):
            put(first, [600])
    assert put(busy, [1000])[0]["status"] == 204  # nothing is left of those before


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        ([(b"content-length", b"100"), (b"transfer-encoding", b"chunked")], True),
        ([(b"content-length", b"1000")], False),
        ([(b"content-length", str(LONGEST).encode())], False),
        ([(b"content-length", str(LONGEST + 1).encode())], True),
        ([(b"content-length", b"-1")], True),
        ([(b"transfer-encoding", b"chunked")], True),
        ([], True),
    ],
)
def test_whoever_may_send_without_end_is_cut_off_with_the_answer(headers, closes):
    (answer,) = put(Gate(read_all, lambda session: Kept([], 0)), [10], headers)
    assert ((b"connection", b"close") in answer["headers"]) == closes


def back(**content):
    return BackMsg(**content).SerializeToString()


def operation(name):
    message = BackMsg()
    getattr(message.backend_operation_request, name).SetInParent()
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("message", "allowed"),
    [
        (back(rerun_script={"query_string": "a"}), True),
        (back(stop_script=True), True),
        (back(file_urls_request={"request_id": "a"}), True),
        (operation("deferred_file"), True),
        (b"\xff\xff", True),  # Streamlit ends the connection
        (back(clear_cache=True), False),
        (back(load_git_info=True), False),
        (back(set_run_on_save=True), False),
        (back(debug_shutdown_runtime=True), False),
        (operation("install_skills"), False),
        (operation("dismiss_skills_nudge"), False),
    ],
)
def test_commands_of_developers_are_dropped(message, allowed):
    assert is_allowed(message) == allowed
    after = back(stop_script=True)
    waiting, passed, sent = iter([message, after]), [], []

    async def receive():
        return {"type": "websocket.receive", "bytes": next(waiting)}

    async def application(scope, receive, send):
        passed.append((await receive())["bytes"])

    async def send(message):
        sent.append(message)

    asyncio.run(Gate(application)({"type": "websocket"}, receive, send))
    assert passed == [message if allowed else after]


def test_the_browser_is_not_told_where_the_app_is():
    begin, other = ForwardMsg(), ForwardMsg()
    begin.new_session.main_script_path, begin.new_session.name = "/home/us/app.py", "app"
    other.delta.new_element.markdown.body = "text"
    sent = []

    async def application(scope, receive, send):
        await send({"type": "websocket.accept"})
        for message in (begin, other):
            await send({"type": "websocket.send", "bytes": message.SerializeToString()})

    async def send(message):
        sent.append(message.get("bytes"))

    asyncio.run(Gate(application)({"type": "websocket"}, None, send))
    assert sent[0] is None
    assert ForwardMsg.FromString(sent[1]).new_session.name == "app"
    assert b"/home/us" not in sent[1]
    assert sent[2] == other.SerializeToString()
