"""znode is killed at one system call after the other while it goes from one
document to the next: nothing is lost, and nothing is started twice."""

import contextlib
import errno
import os
import pathlib
import random
import re
import struct
import subprocess

import pytest

from zooid import BUILD, FULL
from zooid.znode_colony import Colony
from zooid.znode_host import HERE, UID_ZNODE, host_in_directory

HOSTS = 20 if FULL else 2
TURNS = 3  # more on one host wait for init, which waits longer each time
ZNODE = BUILD / "x86_64/bin/znode"
# Traced once by the words in DIRECTORY/at; then it is itself.
TRACED = """#!/bin/sh
[ -e "$1/at" ] || exec %s
at=$(cat "$1/at")
mv "$1/at" "$1/was"
exec strace -D -o "$1/trace" $at %s
""" % (ZNODE, ZNODE)


@pytest.fixture
def colony(tmp_path):
    for host in host_in_directory():
        script = host.path / "traced"
        script.write_text(TRACED)
        script.chmod(0o755)
        trace = host.path / "trace"
        trace.mkdir()
        os.chown(trace, UID_ZNODE, UID_ZNODE)
        (trace / "at").write_text("")
        host.write()
        host.supervise(
            "zrun mode=0666 : %s" % host.zrun,
            "zpull mode=0666 : /usr/bin/python3 %s %s" %
            (HERE / "zpull_peer.py", host.peer),
            "znode kmsg uid=%d mode=0666 needs=zrun : %s %s" %
            (UID_ZNODE, script, trace))
        colony = Colony(host, tmp_path)
        colony.trace = trace
        yield colony


def offer(colony, *apps):
    """Until it is acknowledged, as zagent does."""
    document = colony.document(*apps)

    def taken():
        try:
            return colony.offer(document)[0] in (0, errno.ESTALE)
        except (OSError, struct.error):  # killed before it answered
            return False
    colony.host.wait(taken)


def settled(colony, *names, was=None):
    """When these run, and nothing else, web as another process than it was."""
    now = {}

    def done():
        now.clear()
        try:
            now.update((row["name"], row) for row in colony.host.rows())
        except (AssertionError, ValueError):  # it was killed meanwhile
            return False
        return set(now) == set(names) and now["web"]["pid"] != was and all(
            row["state"] == "running" for row in now.values())
    colony.host.wait(done)
    return now


def processes(host):
    """How many containers there are."""
    return sum(os.path.exists("/proc/" + path.read_text())
               for path in host.peer.glob("*-[0-9]*"))


def calls(colony):
    """The names of the calls so far."""
    return re.findall(r"^(\w+)\(", (colony.trace / "trace").read_text(),
                      re.M)


def injection(rng, names):
    """Kills at one of these calls: strace counts each name by itself."""
    at = rng.randrange(len(names))
    return ["-e", "inject=%s:signal=KILL:when=%d" %
            (names[at], names[:at + 1].count(names[at]))]


@contextlib.contextmanager
def attached(host, options):
    """strace at the znode that runs."""
    with subprocess.Popen(
            ["strace", "-o", "/dev/null", "-p", str(host.pid("znode")),
             *options], stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert "attached" in tracer.stderr.readline()
            yield
        finally:
            tracer.terminate()


def is_traced(host):
    """By the strace of a start, whose call has not come that often."""
    status = pathlib.Path("/proc/%d/status" % host.pid("znode")).read_text()
    return int(re.search(r"^TracerPid:\s+(\d+)", status, re.M)[1]) != 0


def kills(host):
    return host.said().count("znode: killed by signal 9")


@pytest.mark.parametrize("_round", range(HOSTS))
def test_killed_at_any_call(colony, rng, _round):
    """Once at a call on the way to a document, once while it starts again."""
    host, rng = colony.host, random.Random(rng.random() + _round)
    starting = calls(colony)
    web = colony.app("web")
    offer(colony, colony.app("stay"), web, colony.app("old"))
    first = settled(colony, "stay", "web", "old")
    stays, was = first["stay"]["pid"], first["web"]["pid"]
    before = len(calls(colony))
    web = colony.app("web", command=["again"])
    offer(colony, colony.app("stay"), web, colony.app("old"))
    was = settled(colony, "stay", "web", "old", was=was)["web"]["pid"]
    going = calls(colony)[before:]
    host.kill("znode")
    ours = 1
    for turn in range(TURNS):
        if is_traced(host):
            host.kill("znode")
            ours += 1
        (colony.trace / "at").write_text(" ".join(injection(rng, starting)))
        web = colony.app("web", command=["turn %d" % turn])
        with attached(host, injection(rng, going)):
            offer(colony, colony.app("stay"), web, colony.app("new"))
            rows = settled(colony, "stay", "web", "new", was=was)
        (colony.trace / "at").unlink(missing_ok=True)
        assert rows["stay"]["pid"] == stays
        assert not any(row["restarts"] for row in rows.values())
        offer(colony, colony.app("stay"), web, colony.app("old"))
        was = settled(colony, "stay", "web", "old")["web"]["pid"]
        assert was == rows["web"]["pid"]
        host.wait(lambda: processes(host) == 3)
    assert len(starting) > 100 and len(going) > 100
    assert kills(host) - ours >= TURNS
    assert len(host.requests("start")) == 4 + 3 * TURNS
