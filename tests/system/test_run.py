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


@pytest.mark.deadline(300)
def test_once(run):
    child = run(ONCE="1")
    output, _ = child.communicate(timeout=240)
    text = output.decode()
    assert child.returncode == 0, text
    for name in ("n1", "n2"):
        assert re.search(r"page: %s at \S+ says %r" % (
            name, web.PAGE.strip()), text), text
        assert re.search(r"^%s +ready " % name, text, re.M), text
        assert re.search(r"^%s +web +hub/httpd:latest +running " % name, text,
                         re.M), text


@pytest.mark.deadline(300)
def test_stays_until_ctrl_c(run, tmp_path):
    child = run(NODES="1")
    text = read_until(child, "Ctrl-C ends it", 240)
    url = re.search(r"page: n1 at (\S+) says", text)[1]
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read().decode() == web.PAGE
    second = run()
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert output.decode().startswith(
        "make run: already running here (pid %d), in run: " % child.pid)
    assert output.count(b"\n") == 1
    for words in (["console", "n1", "ps"], ["zctl", "ps"]):
        done = subprocess.run(
            [sys.executable, SCRIPT, *words], cwd=tmp_path, text=True,
            env={**os.environ, "ZOOID_RUN_DIR": str(tmp_path / "run")},
            capture_output=True, timeout=60)
        assert "running" in done.stdout, done.stderr
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=90)
    assert child.returncode == 0, rest.decode()
    assert "Traceback" not in rest.decode()


def test_second_run_touches_nothing(run, tmp_path):
    """While one holds the lock; what somebody dead left of it holds up
    nobody."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/kept").write_text("")
    holder = process.start(
        ["flock", tmp_path / "run.lock", "sh", "-c", "echo; cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"\n"
    (tmp_path / "run.lock").write_text("4711\n")
    output, _ = run().communicate(timeout=30)
    assert output.decode().startswith(
        "make run: already running here (pid 4711), in run: ")
    assert (tmp_path / "run/kept").exists()
    holder.stdin.close()
    holder.wait(30)
    child = run(NODES="1")
    read_until(child, "hub: zhub at", 60)
    assert not (tmp_path / "run/kept").exists()
    assert (tmp_path / "run.lock").read_text() == "%d\n" % child.pid


def test_wrong_number_of_nodes(run):
    child = run(NODES="many")
    output, _ = child.communicate(timeout=30)
    assert child.returncode == 1
    assert output.decode() == "make run: NODES=many: want 1 to 16\n"
