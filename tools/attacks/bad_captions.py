"""Caption files that are malformed, slow or name files elsewhere, and texts with markup."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

Pairs = Sequence[tuple[str, str]]

# Texts that would run or load something where they are not shown as text, or break a template.
MARKUP = (
    "</script><script>window.harm=1</script>",
    "<img src=x onerror=window.harm=1>",
    "\"'><svg onload=window.harm=1>",
    "--><script>window.harm=1</script><!--",
    "]]><script>window.harm=1</script>",
    "</title></style></textarea></template><script>window.harm=1</script>",
    "javascript:window.harm=1",
    "${window.harm=1}",
    "{{window.harm=1}}{% raw %}{{7*7}}",
    "\u2028window.harm=1//\u2029",
    "`+(window.harm=1)+`",
    "\\u003cscript\\u003ewindow.harm=1",
    "&lt;script&gt;window.harm=1&lt;/script&gt;",
    "<iframe srcdoc='<script>parent.harm=1</script>'>",
    "<meta http-equiv=refresh content='0;url=data:text/html,harm'>",
)

# Names of a file "secret.jpg" that is outside the folder "images" beside it.
LEADING_OUT = (
    "../secret.jpg",
    "..//secret.jpg",
    "./../secret.jpg",
    "a/../../secret.jpg",
    "a.jpg/../../secret.jpg",
    " ../secret.jpg",
    "..\\secret.jpg",
    "a\\..\\..\\secret.jpg",
    "\\\\server\\share\\secret.jpg",
    "C:\\secret.jpg",
    "c:/secret.jpg",
    "//secret.jpg",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "file:///etc/passwd",
    "%2e%2e/secret.jpg",
    "..%2fsecret.jpg",
    "\\x2e\\x2e/secret.jpg",
    "~/secret.jpg",
    "secret.jpg",
    "../secret.jpg\0",
)


def _csv(pairs: Pairs) -> str:
    rows = (",".join('"' + cell.replace('"', '""') + '"' for cell in pair) for pair in pairs)
    return "image,caption\n" + "".join(row + "\n" for row in rows)


def _tokens(pairs: Pairs) -> str:
    return "".join(f"{name}#{number}\t{text}\n" for number, (name, text) in enumerate(pairs))


def _flickr30k(pairs: Pairs) -> str:
    rows = (f"{name}| {number}| {text}\n" for number, (name, text) in enumerate(pairs))
    return "image_name| comment_number| comment\n" + "".join(rows)


def _lines(pairs: Pairs) -> str:
    return "".join(json.dumps({"image": n, "caption": text}) + "\n" for n, text in pairs)


def _results(pairs: Pairs) -> str:
    return json.dumps([{"image_id": name, "caption": text} for name, text in pairs])


def _coco(pairs: Pairs) -> str:
    images = [{"id": number, "file_name": name} for number, (name, _) in enumerate(pairs)]
    texts = [{"image_id": number, "caption": text} for number, (_, text) in enumerate(pairs)]
    return json.dumps({"images": images, "annotations": texts})


def _karpathy(pairs: Pairs) -> str:
    images = [
        {"filename": name, "split": "train", "sentences": [{"raw": text}]} for name, text in pairs
    ]
    return json.dumps({"images": images})


FORMATS: Mapping[str, Callable[[Pairs], str]] = {
    "CSV": _csv,
    "tokens": _tokens,
    "Flickr30k": _flickr30k,
    "JSON lines": _lines,
    "results": _results,
    "COCO": _coco,
    "Karpathy": _karpathy,
}

_PIECES = (
    *(b'"', b'""', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\0", b"#", b" ", b"\\", b"'"),
    *(b"{", b"}", b"[", b"]", b":", b"null", b"true", b"1e999999", b"9" * 5000, b"-1", b"NaN"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\xe9", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x1a"),
    *(b'"\\ud800"', b'"\\udce9"', b'"image"', b'"caption"', b'"images"', b'"annotations"', b'"id"'),
    *(b"[" * 3000, b'{"a":' * 3000, b"../", b"/", b"C:\\", b"n't" * 100, b"\xcc\x81\xcc\xa3" * 100),
    *(
        b"image,caption\n",
        b"a.jpg#0\ta dog\n",
        b'{"image": "a.jpg", "caption": "a dog"}\n',
        b"\x1f\x8b",
    ),
)


def malformed(seed: int) -> bytes:
    """A caption file of some format with a few changes at random places."""
    draw = random.Random(seed)
    pairs = [(draw.choice(("a.jpg", "b.jpg", "c.jpg")), "a dog runs") for _ in range(3)]
    content = bytearray(draw.choice(list(FORMATS.values()))(pairs).encode())
    for _ in range(draw.randint(1, 6)):
        start = draw.randint(0, len(content))
        end = min(len(content), start + draw.choice((0, 0, 1, 2, 5, 30)))
        content[start:end] = draw.choice(_PIECES)
    return bytes(content)


def large(size: int) -> Iterator[tuple[str, bytes]]:
    """Files of about ``size`` bytes that a careless reader takes very long for.

    Those of short lines have a fiftieth of that: as many lines as other files of that size have.
    """
    table = b"image,caption\n"
    for name, head, piece, tail in (
        ("quotes", b"", b'"', b""),
        ("a cell of quotes", table, b'"', b""),
        ("lines that begin a quote", table, b'a.jpg,"x\n', b""),
        ("lines of three quotes", table, b'a.jpg,"""\n', b""),
        ("a quote that is never closed", table + b'a.jpg,"', b"x\n", b""),
        ("rows inside a quote", table + b'a.jpg,"', b"b.jpg,x\n", b'"\n'),
        ("blanks inside a quote", table + b'a.jpg,"x\n', b" ", b'"\n'),
        ("commas", table, b",", b""),
        ("line breaks", table, b"\n", b""),
        ("NUL", table, b"\0", b""),
        ("rows of wrong length", table, b"x\n", b""),
        ("one caption of n't", table + b"a.jpg,an", b"n't", b"x\n"),
        ("JSON of brackets", b"", b"[", b""),
        ("JSON of a text", b'[{"image": "', b"a/", b'", "caption": "a dog"}]'),
        ("JSON of digits", b'[{"image_id": ', b"9", b', "caption": "a dog"}]'),
        ("JSON of a name of zeros", b'[{"image": "', b"0", b'x", "caption": "a dog"}]'),
        ("JSON of n't", b'[{"image": "a.jpg", "caption": "an', b"n't", b'x"}]'),
        ("JSON of accents", b'[{"image": "a.jpg", "caption": "e', b"\xcc\x81\xcc\xa3", b'"}]'),
        ("JSON of one key", b'{"images": [], ', b'"annotations": [], ', b'"x": 0}'),
        (
            "JSON of accents in a name",
            b'[{"image": "e',
            b"\xcc\x81\xcc\xa3",
            b'", "caption": "a"}]',
        ),
        ("JSON lines", b"", b'{"image": "a.jpg", "caption": 1}\n', b""),
        ("tokens", b"a.jpg#0\ta dog\n", b"#\t\n", b""),
    ):
        length = size // 50 if piece.endswith(b"\n") else size
        yield name, head + piece * (length // len(piece)) + tail
