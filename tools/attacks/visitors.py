"""Fifty visitors of the running app at once, for five minutes: each gets the own captions alone.

Each is a thread that speaks Streamlit's protocol with the real server: uploads good and bad files,
one or several, under odd names; chooses words, changes the beam, looks at pictures, saves maps;
leaves in the middle, reloads, comes back after a lost connection. What the captions should be was
computed before, in this process, which is not the server's.
"""

import io
import random
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg

from captioning.app.examples import examples
from captioning.inference.captioner import Captioner
from tools.attacks.one_visitor import resident
from tools.attacks.outcome import Outcome
from tools.attacks.visitor import File, Screen, Visitor
from tools.browser import ROOT, serving

VISITORS, SECONDS = 50, 300.0
WARM = 0.2  # of the time, after which memory should not grow
MOST_GROWTH = 100_000_000  # bytes, of a resident memory that fifty visitors move up and down
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
PICTURES = 6  # of each visitor
# Those who left are forgotten sooner than usual: as many go as come when the memory is read.
FORGETTING = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "15"}
OTHER_BEAM = 1  # to change to from the model's own
WORD_JOINER = "\N{WORD JOINER}"  # by which buttons of equal words differ
_OWNER = re.compile(rb"visitor(\d+)q")  # in every file's name
# What no message to a visitor should hold.
_SECRETS = (str(ROOT).encode(), b"site-packages", b"Traceback", b"Error:", b'File "')
# Parts of names that are something in HTML, Markdown, LaTeX, a path, a format or a terminal.
ODD = (
    *("<script>document.title='ran'</script>", "<img src=x onerror=document.title='ran'>"),
    *("$\\frac{1}{2}$", ":material/delete:", ":red[red]", ":smile:", "**bold** _it_ `code`"),
    *("[link](http://localhost/evil)", "![image](http://localhost/evil)", "www.example.com"),
    *("line\nbreak", "tab\there", "../../../etc/passwd", "C:\\windows\\x", "%00%s%n{0}{name}"),
    *("\u202egpj.exe", "caf\u00e9 \u5199\u771f \U0001f600", "'\"quotes\"'", "&lt;b&gt;"),
    *(
        "-rf",
        "# 1. x",
        "| a | b |",
        "~~no~~",
        "a" * 400,
        "\u200b",
        "=1+1",
        "a -> b",
        "</h2></code>",
    ),
)


def picture(seed: int) -> Image.Image:
    """A crop of an example photograph, another one for each seed."""
    draw = random.Random(seed)
    with Image.open(examples()[seed % 4].path) as image:
        photo = image.convert("RGB")
    side = draw.randint(120, min(photo.size))
    left, top = (draw.randint(0, whole - side) for whole in photo.size)
    return photo.crop((left, top, left + side, top + side))


def good_file(seed: int, name: str = "photo") -> File:
    """A picture as a file of one of the kinds; its name ends as the kind's do."""
    kind, file = KINDS[seed // 4 % len(KINDS)], io.BytesIO()
    picture(seed).save(file, kind)
    return File(f"{name}.{kind.lower()}", file.getvalue())


def bad_contents(seed: int) -> list[bytes]:
    """Files that are no photographs, or not whole, or far too large to decode."""
    draw, whole = random.Random(seed), good_file(4 + seed % 4).content  # a PNG
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    large = bomb.getvalue().replace((30_000).to_bytes(4), (2**31 - 1).to_bytes(4), 2)
    return [
        *(b"", b"not a photograph", whole[: draw.randint(1, 60)], draw.randbytes(5000), large),
        *(b"PK\x03\x04" + draw.randbytes(200), b"GIF89a", b"<svg><script>alert(1)</script></svg>"),
    ]


@dataclass
class Person:
    """A visitor's own files, what their captions are by beam, and what happened so far."""

    number: int
    files: Sequence[File]
    captions: Mapping[tuple[bytes, int], Sequence[str]]  # the caption, then the alternatives
    beam: int  # the model's own
    draw: random.Random
    harm: list[str] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def see(self, message: bytes) -> None:
        """Look for what is another visitor's, or the server's, in a message as it came."""
        others = {int(found) for found in _OWNER.findall(message)} - {self.number}
        if others:
            self.harm.append(f"visitor {self.number} got names of {sorted(others)}")
        for secret in _SECRETS:
            if secret in message:
                where = message.index(secret)
                self.harm.append(f"a message has {message[max(0, where - 60) : where + 60]!r}")

    def named(self, content: bytes, suffix: str) -> File:
        """A file under a name that is the visitor's own, and maybe odd."""
        odd = self.draw.choice(ODD) if self.draw.random() < 0.5 else ""
        return File(f"visitor{self.number}q{odd}.{suffix}", content)

    def some(self, count: int) -> list[File]:
        """Some of the own photographs."""
        files = self.draw.sample(list(self.files), count)
        return [self.named(file.content, file.name.rpartition(".")[2]) for file in files]


def people(count: int, pictures: int = PICTURES) -> list[Person]:
    """Visitors with photographs that no other one has, captioned in this process."""
    captioner, everyone = Captioner.load(), []
    for number in range(count):
        files = [good_file(1000 * number + seed) for seed in range(pictures)]
        captions = {}
        for file in files:
            for beam in (OTHER_BEAM, captioner.decoding.beam):
                found = captioner(file.content, beam=beam)
                texts = [found.sentence, *(other.sentence for other in found.alternatives)]
                captions[file.content, beam] = texts
        beam, draw = captioner.decoding.beam, random.Random(number)
        everyone.append(Person(number, files, captions, beam, draw))
    return everyone


class Visit:
    """What a visitor may do, each an attempt that raises AssertionError where it goes wrong."""

    def __init__(self, person: Person, address: str) -> None:
        self.person, self.visitor = person, Visitor(address, person.see)
        self.beam = person.beam

    def _shown(self, screen: Screen) -> str:
        """The caption at the top, without the marks that keep it from being Markdown."""
        assert not screen.of("exception"), screen.of("exception")[0]
        assert not [error for error in screen.errors() if "went wrong" in error], screen.errors()
        headline = screen.headline()
        assert headline, f"no caption, but {screen.errors()}"
        return re.sub(r"\\(.)", r"\1", headline)

    def one(self) -> None:
        """Upload one photograph, and look at some of its pictures."""
        (file,) = self.person.some(1)
        screen = self.visitor.upload(file)
        expected = self.person.captions[file.content, self.beam][0]
        assert self._shown(screen) == expected, f"{self._shown(screen)!r}, not {expected!r}"
        assert not screen.errors(), screen.errors()
        pictures = screen.pictures()
        assert len(pictures) > 4, "the maps are missing"
        for image in self.person.draw.sample(pictures, 2):
            status, content = self.visitor.get(image.url)
            assert status == 200, f"a picture is not there: {status}"
            Image.open(io.BytesIO(content)).verify()

    def several(self) -> None:
        """Upload several photographs, and maybe something else among them."""
        files = self.person.some(self.person.draw.randint(2, len(self.person.files)))
        bad = self.person.draw.random() < 0.5
        extra = [self.person.named(self._bad(), "jpg")] if bad else []
        screen = self.visitor.upload(*files, *extra)
        # In a batch, sums are rounded differently, which may let the second best win.
        accepted = self.person.captions[files[0].content, self.beam]
        assert self._shown(screen) in accepted, f"{self._shown(screen)!r}, not one of {accepted}"
        assert len(screen.errors()) == len(extra), screen.errors()
        assert len(screen.of("dataframe")) == 1, "there is no table of captions"

    def _bad(self) -> bytes:
        return self.person.draw.choice(bad_contents(self.person.number))

    def bad(self) -> None:
        """Upload what is no photograph."""
        screen = self.visitor.upload(self.person.named(self._bad(), "png"))
        assert not screen.of("exception"), screen.of("exception")[0]
        (error,) = screen.errors()
        assert f"visitor{self.person.number}q" in error, error
        assert error.endswith("."), error
        assert "\n" not in error, error
        assert screen.headline() is None, "a caption of what is no photograph"

    def word(self) -> None:
        """Choose a word of the caption that is shown: a fragment of the page runs."""
        self.one()
        group = self.visitor.screen.of("button_group")[0]
        word = self.person.draw.choice(group.options).content
        self.visitor.set(group.id, string_array_value={"data": [word]})
        screen = self.visitor.rerun(self.visitor.screen.fragment_of("button_group"))
        assert not screen.of("exception"), screen.of("exception")[0]
        of = f"“{word.strip(WORD_JOINER)}” as heat"
        assert any(of in image.alt for image in screen.pictures()), f"no map {of}"

    def maps(self) -> None:
        """Save the maps of all words as a picture, which is drawn only then."""
        self.one()
        self.fetch_maps(self.draw_maps())

    def draw_maps(self) -> str:
        """Have the maps of the caption that is shown drawn; returns the picture's address."""
        button = self.visitor.screen.widget("download_button", "Evidence")
        message = BackMsg()
        request = message.backend_operation_request
        request.request_id, request.session_id = "maps", self.visitor.session
        request.deferred_file.file_id = button.deferred_file_id
        self.visitor.send(message)
        for reply in self.visitor.messages():
            if reply.WhichOneof("type") == "backend_operation_response":
                break
        answer = reply.backend_operation_response
        assert not answer.error_msg, answer.error_msg
        return answer.deferred_file.url

    def fetch_maps(self, address: str) -> None:
        """The picture has to be there until the page is another one."""
        status, content = self.visitor.get(address)
        assert (status, content[:4]) == (200, b"\x89PNG"), f"no picture of the maps: {status}"

    def change_beam(self) -> None:
        """Search with another width."""
        self.beam = self.person.draw.choice((OTHER_BEAM, self.person.beam))
        slider = self.visitor.screen.widget("slider", "Beam")
        self.visitor.set(slider.id, double_array_value={"data": [float(self.beam)]})
        self.one()

    def remove(self) -> None:
        """Remove what was uploaded, and upload anew."""
        self.one()
        screen = self.visitor.remove_all()
        assert screen.headline() is None, "the caption of a photograph that was removed"
        self.one()

    def leave(self) -> None:
        """Leave in the middle of the answer, and open the page anew, or go on with the session."""
        files = self.person.some(self.person.draw.randint(1, len(self.person.files)))
        self.visitor.choose(self.visitor.put(files))
        self.visitor.ask()
        time.sleep(self.person.draw.random())
        self.visitor.leave()
        again = self.person.draw.random() < 0.5
        self.visitor.connect(again)
        if not again:
            self.beam = self.person.beam
            assert self.visitor.screen.headline() is None, "a new visit begins with a caption"
        self.one()


_ACTIONS = {"one": 6, "several": 3, "bad": 4, "word": 2, "maps": 1}
_ACTIONS |= {"change_beam": 2, "remove": 2, "leave": 3}


def visit(person: Person, address: str, end: float) -> None:
    """Do one thing after the other until the time is over."""
    names, weights = [*_ACTIONS], [*_ACTIONS.values()]
    visit = Visit(person, address)
    while time.monotonic() < end:
        (action,) = person.draw.choices(names, weights)
        started = time.monotonic()
        try:
            getattr(visit, action)()
        except Exception as error:  # whatever it is, it was not promised
            person.harm.append(f"{action}: {type(error).__name__}: {error}")
            visit.visitor.leave()
            visit = Visit(person, address)
        person.answers.append(time.monotonic() - started)
        person.done[action] += 1
        time.sleep(person.draw.random())
    visit.visitor.leave()


def crowd(everyone: Sequence[Person], address: str, seconds: float, pid: int) -> int:
    """Let all visit at once; returns by how many bytes the server grew after a warm-up."""
    start = time.monotonic()
    threads = [
        threading.Thread(target=partial(visit, person, address, start + seconds))
        for person in everyone
    ]
    for thread in threads:
        thread.start()
    samples = []
    while any(thread.is_alive() for thread in threads):
        samples.append((time.monotonic() - start, resident(pid)))
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    return growth(samples)


def growth(samples: Sequence[tuple[float, int]]) -> int:
    """The median of the last fifth of the time, less that of the fifth after the warm-up."""
    end = samples[-1][0]
    warm = [size for at, size in samples if WARM * end <= at < 2 * WARM * end]
    last = [size for at, size in samples if at >= (1 - WARM) * end]
    return int(statistics.median(last) - statistics.median(warm))


def attacks(_folder: Path, visitors: int = VISITORS, seconds: float = SECONDS) -> Iterator[Outcome]:
    """A crowd, and what is left when it has gone."""
    outcome = Outcome(f"things that {visitors} visitors did at once in {seconds:.0f} s")
    everyone = people(visitors)
    with serving(**FORGETTING) as (address, process):
        grown = crowd(everyone, address, seconds, process.pid)
        if process.poll() is not None:
            outcome.harm.append(f"the server ended with status {process.poll()}")
        elif not visitor_served(everyone[0], address):
            outcome.harm.append("after them, another visitor was not served")
    answers = [answer for person in everyone for answer in person.answers]
    outcome.tried = len(answers)
    outcome.harm += [harm for person in everyone for harm in person.harm]
    if grown > MOST_GROWTH:
        outcome.harm.append(f"the memory grew by {grown / 1e6:.0f} MB")
    outcome.slowest, outcome.memory = max(answers), max(grown, 0)
    outcome.note("median s", round(statistics.median(answers), 1))
    for name, count in sum((person.done for person in everyone), Counter[str]()).items():
        outcome.note(name.replace("_", " "), count)
    yield outcome


def visitor_served(person: Person, address: str) -> bool:
    """Whether the next one who comes gets a caption."""
    try:
        Visit(person, address).one()
    except AssertionError:
        return False
    return True
