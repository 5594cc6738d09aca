"""What holds for every test: with CI=true, a skip that is not explained here is a failure."""

import os

import pytest

# The allocator inside pyarrow, which Streamlit imports, has a thread of its own with all signals
# blocked. It is known to crash now and then, and then nothing is printed:
# https://github.com/apache/arrow/issues/44342.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")

EXPLAINED = (
    "../shared/flickr8k is not here",
    "Java is not here",
    "a small disk needs the right to mount one",
    "a device needs the right to make one",
    "a disk that fails needs a C compiler",
    "there is no GPU here",
    "there is a GPU here",
)


def pytest_terminal_summary(terminalreporter):
    """Say which skips nobody explained."""
    for reason in unexplained(terminalreporter):
        terminalreporter.write_line(f"unexplained skip: {reason}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail the run for them where it counts."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter and unexplained(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def unexplained(reporter) -> list[str]:
    """The reasons of skipped tests that are not in the list above."""
    reasons = [str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])]
    return [reason for reason in reasons if not any(known in reason for known in EXPLAINED)]
