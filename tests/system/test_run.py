"""`make run`, as a newcomer meets it; here without the build before it."""

import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from zooid import TOP, process, web

SCRIPT = TOP / "tests/system/run.py"


@pytest.fixture
def run(tmp_path):
    """run(**environment) -> the process; ended afterwards."""
    started = []

    def start(**environment):
        started.append(process.start(
            [sys.executable, SCRIPT], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1",
                               "ZOOID_RUN_DIR": str(tmp_path / "run"),
                               **environment}))
        return started[-1]
    yield start
    for child in started:
        process.end(child, term_s=30)


def read_until(child, pattern, deadline_s):
    """Its output up to a line that matches."""
    end, text = time.monotonic() + deadline_s, ""
    while not re.search(pattern, text):
        ready, _, _ = select.select([child.stdout], [], [],
                                    max(0, end - time.monotonic()))
        data = os.read(child.stdout.fileno(), 65536) if ready else b""
        assert data, text
        text += data.decode()
    return text


def test_once(run):
    child = run(ONCE="1")
    output, _ = child.communicate(timeout=150)
    text = output.decode()
    assert child.returncode == 0, text
    assert repr(web.PAGE.strip()) in text
    assert "zooid: ready in" in text
    assert re.search(r"^web +running .* web-1$", text, re.M)


def test_stays_until_ctrl_c(run, tmp_path):
    child = run()
    text = read_until(child, "Ctrl-C ends it", 150)
    url = re.search(r"page: (\S+) says", text)[1]
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read().decode() == web.PAGE
    console = subprocess.run(
        [sys.executable, SCRIPT, "console", "ps"], cwd=tmp_path, text=True,
        env={**os.environ, "ZOOID_RUN_DIR": str(tmp_path / "run")},
        capture_output=True, timeout=60)
    assert "running" in console.stdout, console.stderr
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=60)
    assert child.returncode == 0, rest.decode()
    assert "Traceback" not in rest.decode()
