"""Entry points end quietly: on Ctrl-C while they start, and when nobody reads what they print."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import bleu_scorer
import main
from captioning.interrupts import INTERRUPTED, ending_at_once, ending_quietly

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ["main.py", "bleu_scorer.py"]
COMMAND = "captioning/__main__.py"

START = """
import runpy, sys
program = sys.argv[1]
sys.argv = sys.argv[1:]
"""
# Ctrl-C at the moment when a module is looked for.
INTERRUPT = """
import os, signal
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == MOMENT:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
"""
RUN = "\nrunpy.run_path(program, run_name='__main__')\n"


@pytest.fixture(autouse=True)
def pythons_own_handler():
    """Ctrl-C as in a foreground process, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(code, *words, **options):
    """Run code to its end, in which Ctrl-C is not ignored: it is in what a shell starts with &."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


# Ctrl-C -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "moment"),
    [
        *((program, "captioning.errors") for program in PROGRAMS),
        *((program, "torch") for program in PROGRAMS),
        *((program, "torchvision") for program in PROGRAMS),
        *((COMMAND, moment) for moment in ("argparse", "captioning.batch.flags", "numpy", "PIL")),
        ("main.py", "argparse"),
        ("main.py", "captioning.training.flags"),
        ("main.py", "captioning.training.pipeline"),
        ("bleu_scorer.py", "captioning.evaluation.systems"),
        ("bleu_scorer.py", "captioning.evaluation.scoring_flags"),
    ],
)
def test_ctrl_c_while_a_program_starts_ends_it_without_a_word(program, moment):
    code = START + f"MOMENT = {moment!r}\n" + INTERRUPT + RUN
    # Should it go on after all, it finds nothing to do.
    words = {
        COMMAND: ["no such photograph.jpg"],
        "main.py": ["--captions", "no such file", "--images", "no such folder"],
        "bleu_scorer.py": ["--references", "no such file"],
    }[program]
    done = start(code, program, *words)
    assert done.returncode == -signal.SIGINT  # of which a shell makes 130
    assert done.stderr == done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_shell_sees_the_status_of_an_interruption():
    code = "from captioning.interrupts import ending_at_once as e\nwith e(): import os; os.kill("
    code += "os.getpid(), 2)"
    line = f'"{sys.executable}" -c "{code}"; echo $?'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == str(INTERRUPTED)


def test_ctrl_c_is_pythons_again_afterwards():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with ending_at_once():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        with ending_at_once():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(ZeroDivisionError), ending_at_once():
        _ = 1 / 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_another_handler_stays(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with ending_at_once():
            assert signal.getsignal(signal.SIGINT) == handler
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_changes():
    seen = []

    def run():
        with ending_at_once():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


# Standard output --------------------------------------------------------------------------------


def closed_pipe():
    """The end to write to of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def run_into(code, writing, *words):
    """Run code whose standard output is a file: its status and what it says on stderr."""
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize("program", [*PROGRAMS, COMMAND])
def test_help_into_a_closed_pipe_prints_no_traceback(program):
    _, said = run_into(START + RUN, closed_pipe(), program, "--help")
    assert said == ""  # the status may be 0: argparse itself forgets that it could not print


@pytest.mark.parametrize("flush", [True, False])
def test_a_print_into_a_closed_pipe_ends_with_the_status(flush):
    code = f"""
from captioning.interrupts import ending_quietly
with ending_quietly(status=7):
    print("lost", flush={flush})
print("this is not reached")
"""
    assert run_into(code, closed_pipe()) == (7, "")


def test_a_broken_pipe_elsewhere_is_an_error():
    with pytest.raises(BrokenPipeError), ending_quietly():
        os.write(closed_pipe(), b"lost")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_full_disk_behind_standard_output_is_no_closed_pipe():
    code = """
from captioning.interrupts import ending_quietly
try:
    with ending_quietly():
        print("lost")
except OSError as error:
    raise SystemExit(f"{error.strerror}")
"""
    status, said = run_into(code, os.open("/dev/full", os.O_WRONLY))
    assert (status, said) == (1, "No space left on device\n")


def test_without_a_standard_output_nothing_is_wrong(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with ending_quietly():
        print("nowhere")


def test_errors_pass_and_what_was_printed_is_out(capsys):
    def fail():
        with ending_quietly():
            print("before")
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert capsys.readouterr().out == "before\n"


# Starting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_needs_no_torch(program):
    code = (
        START
        + f"""
try:{RUN.replace(chr(10), chr(10) + "    ")}
finally:
    slow = {{"torch", "torchvision", "matplotlib", "scipy"}} & sys.modules.keys()
    print(sorted(slow), file=sys.stderr)
"""
    )
    done = start(code, program, "--help")
    assert done.stderr == "[]\n"
    assert done.stdout.startswith(f"usage: {program}")
    assert done.returncode == 0


@pytest.mark.parametrize("module", [main, bleu_scorer], ids=PROGRAMS)
def test_wrong_flags_still_print_the_usage(module, capsys):
    with pytest.raises(SystemExit) as stop:
        module.main(["--no-such-flag"])
    assert stop.value.code == 2
    assert "usage: " in capsys.readouterr().err


def test_ctrl_c_in_the_middle_of_the_work_is_still_a_sentence(tmp_path):
    """Of a real process: it waits for a caption file that never ends."""
    pipe = tmp_path / "captions.txt"
    os.mkfifo(pipe)
    command = [sys.executable, str(ROOT / "main.py"), "--captions", pipe, "--images", tmp_path]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    writing = None
    while writing is None and process.poll() is None:
        with suppress(OSError):  # until main.py reads
            writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert writing is not None
    os.close(writing)
    assert said == "main.py: stopped; the same command resumes the run\n"
    assert process.returncode == INTERRUPTED
