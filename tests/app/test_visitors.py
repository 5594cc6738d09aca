"""The real server under visitors who speak Streamlit's protocol, few and for seconds.

make soak does the same with fifty of them for minutes, and with attacks on the server.
"""

import dataclasses
import os
import re
import threading
import time

import pytest

from tools.attacks import server, visitors
from tools.attacks.visitor import File, Visitor
from tools.attacks.visitors import ODD, good_file
from tools.browser import ROOT, serving

VISITORS, SECONDS = 5, 8.0
# Put before the app's own code, where Python looks for it when it starts.
BROKEN = """
from captioning.inference import captioner
def broken(self, *arguments, **settings):
    raise {error}("a secret of the server in /some/where")
captioner.Captioner.{method} = broken
"""


@pytest.fixture(scope="module")
def running():
    with serving(STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL="5") as (address, process):
        yield address, process.pid


@pytest.fixture
def visitor(running):
    with Visitor(running[0]) as here:
        yield here


def test_each_of_several_visitors_gets_their_own_captions_alone(running):
    everyone = visitors.people(VISITORS, pictures=2)
    visitors.crowd(everyone, running[0], SECONDS, running[1])
    assert [harm for person in everyone for harm in person.harm] == []
    assert sum(len(person.answers) for person in everyone) >= VISITORS


def test_maps_can_be_fetched_while_others_pages_are_drawn(running, visitor):
    (person,) = visitors.people(1, pictures=2)
    visit = visitors.Visit(person, running[0])
    visit.one()
    address = visit.draw_maps()
    for _ in range(3):  # after two, Streamlit forgets what was made on demand
        visitor.rerun()
    visit.fetch_maps(address)
    visit.visitor.leave()


def test_a_wrong_caption_would_be_noticed(running):
    (person,) = visitors.people(1, pictures=2)
    wrong = {key: ["Another visitor's."] for key in person.captions}
    person = dataclasses.replace(person, captions=wrong)
    visit = visitors.Visit(person, running[0])
    with pytest.raises(AssertionError, match="Another visitor's"):
        visit.one()
    visit.visitor.leave()
    person.see(b"... visitor7qphoto.jpg ...")
    assert person.harm == ["visitor 0 got names of [7]"]


def test_an_upload_over_the_limit_is_refused_before_it_fills_the_memory(visitor, running):
    outcome = server.oversize(visitor, running[1], 10**9)
    assert outcome.harm == []
    assert outcome.tried > 5


def test_forged_requests_and_addresses_outside_lead_nowhere(visitor):
    for outcome in (server.forged(visitor), server.paths(visitor)):
        assert outcome.harm == []
        assert outcome.tried > 10


def test_odd_names_stand_in_messages_as_they_are(visitor):
    for odd in ODD:
        screen = visitor.upload(File(f"{odd}.jpg", b"no photograph"))
        assert not screen.of("exception")
        (error,) = screen.errors()
        assert "\n" not in error
        assert not re.search(r"(?<!\\)[*_`<>\[$:&]", error), error
        assert re.sub(r"\\(.)", r"\1", error).count("is not an image") == 1


@pytest.mark.parametrize("name", ["/etc/passwd", "no model"])
def test_no_visitor_chooses_a_file_of_the_server(visitor, name):
    visitor.set(visitor.screen.widget("selectbox", "Model").id, string_value=name)
    screen = visitor.rerun()
    assert not screen.of("exception")
    assert not screen.errors()
    assert screen.of("file_uploader")


def test_files_that_are_gone_are_no_defect(visitor):
    visitor.upload(good_file(1))
    uploader = visitor.screen.widget("file_uploader").id
    gone = [{"file_id": "gone", "name": "gone.jpg", "size": 3}]
    visitor.set(uploader, file_uploader_state_value={"uploaded_file_info": gone})
    screen = visitor.rerun()
    assert not screen.errors()
    assert not screen.of("exception")
    assert screen.headline() is None


def test_one_photograph_need_not_wait_for_the_thirty_of_another(running):
    with Visitor(running[0]) as many, Visitor(running[0]) as one:
        many.choose(many.put([good_file(4 * seed) for seed in range(30)]))
        one.choose(one.put([good_file(1)]))
        ends = {}

        def wait(name, visitor):
            visitor.wait()
            ends[name] = time.monotonic()

        threads = []
        for name, visitor in (("many", many), ("one", one)):
            visitor.ask()
            threads.append(threading.Thread(target=wait, args=(name, visitor)))
            threads[-1].start()
        for thread in threads:
            thread.join(60)
    assert ends["one"] < ends["many"]


@pytest.mark.parametrize(
    ("error", "method", "sentence"),
    [
        ("RuntimeError", "stream", "Something went wrong on the server"),
        ("RuntimeError", "explain", "Something went wrong on the server"),
        ("MemoryError", "stream", "There is too little memory"),
    ],
)
def test_a_defect_shows_a_sentence_and_its_details_go_to_the_log_alone(
    tmp_path, capfd, error, method, sentence
):
    (tmp_path / "sitecustomize.py").write_text(BROKEN.format(error=error, method=method))
    seen = []
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with serving(PYTHONPATH=path) as (address, _), Visitor(address, seen.append) as here:
        screen = here.upload(good_file(1))
        assert not screen.of("exception")
        (shown,) = screen.errors()
        assert shown.startswith(sentence)
        assert (screen.headline() is not None) == (method == "explain")
        assert screen.of("file_uploader")
    for secret in (b"secret", b"/some/where", b"Error", b"Traceback", b"captioner.py"):
        assert not [message for message in seen if secret in message]
    assert "a secret of the server in /some/where" in "".join(capfd.readouterr())
