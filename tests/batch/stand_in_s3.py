"""A server on this machine that speaks the few calls of S3 by which files are listed and read."""

import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"
MODIFIED = 1_700_000_000  # seconds


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        key = unquote(url.path).removeprefix(f"/{BUCKET}").lstrip("/")
        if "list-type" in query:
            self.answer(200, self.listing(query), {"Content-Type": "application/xml"})
        elif key in self.server.objects:
            self.answer_object(self.server.objects[key])
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", {})

    do_HEAD = do_GET

    def listing(self, query):
        prefix = query.get("prefix", [""])[0]
        delimiter = query.get("delimiter", [""])[0]
        keys, folders = [], set()
        for key in sorted(self.server.objects):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest[: rest.index(delimiter) + 1])
            else:
                keys.append(key)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size>"
            "<LastModified>2023-11-14T22:13:20.000Z</LastModified></Contents>"
            for key in keys
        )
        inside = "".join(
            f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            for folder in sorted(folders)
        )
        count = len(keys) + len(folders)
        return (
            f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>"
            f"<KeyCount>{count}</KeyCount>{contents}{inside}</ListBucketResult>"
        ).encode()

    def answer_object(self, content):
        headers = {"Last-Modified": formatdate(MODIFIED, usegmt=True), "ETag": '"1"'}
        span = self.headers.get("Range")
        if not span:
            self.answer(200, content, headers)
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        end = min(int(last), len(content) - 1) if last else len(content) - 1
        headers["Content-Range"] = f"bytes {first}-{end}/{len(content)}"
        self.answer(206, content[int(first) : end + 1], headers)

    def answer(self, status, content, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def stand_in(objects):
    """Serve objects, bytes by their keys; gives a function from a key to its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.objects = dict(objects)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = f"endpoint_override=127.0.0.1:{server.server_port}&scheme=http&region=us-east-1"
    try:
        yield lambda key: f"s3://user:secret@{BUCKET}/{key}?{settings}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
