"""Requests as bytes, such as no client would send, and what they cost the server."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tools.attacks.one_visitor import resident
from tools.attacks.visitor import MEBIBYTE, Visitor

PATIENCE = 20.0  # seconds for an answer
UPLOAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'


class Peak:
    """The most memory that a process held while it was watched, above what it held before."""

    def __init__(self, pid: int) -> None:
        self._pid, self._before, self.most = pid, resident(pid), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, resident(self._pid) - self._before)


@contextmanager
def raw(visitor: Visitor) -> Iterator[socket.socket]:
    """A connection to the server, to write bytes to."""
    host, _, port = visitor.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        yield connection


def upload_head(visitor: Visitor, *headers: str) -> bytes:
    """The beginning of an upload that the server takes for one of the page's."""
    lines = [f"PUT /_stcore/upload_file/{visitor.session}/{os.urandom(8).hex()} HTTP/1.1"]
    lines += [f"Host: {visitor.host}", "Content-Type: multipart/form-data; boundary=x", *headers]
    lines += [f"{name}: {value}" for name, value in visitor.credentials().items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(content: bytes) -> bytes:
    """A piece of a body whose length nobody told."""
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def pour(connection: socket.socket, size: int, as_sent: Callable[[bytes], bytes] = bytes) -> int:
    """Send ``size`` bytes or as many as the server takes; returns how many."""
    piece, sent = as_sent(bytes(MEBIBYTE)), 0
    try:
        while sent < size:
            connection.sendall(piece)
            sent += MEBIBYTE
    except OSError:
        pass  # it closed the connection
    return sent


def status(connection: socket.socket) -> int:
    """The status that the server answers; 0 where it only ends the connection."""
    try:
        answer = connection.recv(4096)
    except ConnectionError:
        return 0
    except TimeoutError:
        raise AssertionError(f"no answer for {PATIENCE:.0f} s") from None
    return int(answer.split()[1]) if answer else 0


def fetch(visitor: Visitor, address: str) -> bytes:
    """The answer to a GET of an address as it is, which a client would first make plain."""
    with raw(visitor) as connection:
        head = f"GET {address} HTTP/1.1\r\nHost: {visitor.host}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer
