"""Starts that zrun serve makes before they are asked for: each is a container
of its own, and none is seen until then."""

import contextlib
import os
import random
import select
import struct
import subprocess

import pytest
from test_zrun_serve import (
    BIN, CLD_EXITED, DEADLINE, DELETE, FORGET, FULL, OUTPUT, START, TRACED,
    children, config, kills, printed, readonly, remove, sealed,
    with_image)  # noqa: F401

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not os.path.exists(BIN + "/zrun")
    or not os.path.exists(BIN + "/init"), reason="needs root, init and zrun")

SCRIPT = "cat /mark; echo $$ $(hostname); echo x >/mark; exec sleep 1000"


@pytest.fixture
def node(tmp_path):
    made = with_image(tmp_path)
    yield made
    made.close()


def start(node, id, config_):
    fd = sealed(config_)
    reply = node.ask(START, id=id, digest=node.digest, fds=[fd])
    os.close(fd)
    assert reply.error == 0, reply
    return reply


def ahead(node):
    """Their writable layers."""
    return {name for name in os.listdir(node.path / "data/containers")
            if name[0] == "@"}


def held(node):
    """Those that wait for nothing but their go, by pid."""
    return children(node, TRACED)


def make_ahead(node, config_):
    """Starts it until others of the kind wait. The first is made with no bud,
    the next two are two of a kind."""
    for n in range(3):
        start(node, "again", config_)
        remove(node, "again")
        node.wait(lambda: n < 2 or len(held(node)) == 2)


def test_what_was_made_ahead_becomes_one_container(node):
    wanted = config("sh", "-c", SCRIPT, user={
        "uid": 33, "gid": 33, "additionalGids": [7]})
    wanted["mounts"].append({"destination": "/tmp", "type": "tmpfs"})
    wanted["process"]["args"][2] = SCRIPT.replace("/mark", "/tmp/mark")
    make_ahead(node, wanted)
    taken = set()
    for id in "one", "two", "three":
        before = ahead(node)
        reply = start(node, id, wanted)
        taken |= before - ahead(node)
        status = open("/proc/%d/status" % reply.pid).read()
        assert "PPid:\t%d\n" % node.init.pid in status
        assert "Uid:\t33\t33\t33\t33\n" in status and "Groups:\t7 \n" in status
        assert "Seccomp:\t2\n" in status and "NoNewPrivs:\t1\n" in status
        assert "CapEff:\t0000000000000000\n" in status
        _, fds = node.from_init(OUTPUT, id, 1)
        assert select.select(fds, [], [], DEADLINE)[0]
        assert os.read(fds[0], 100) == b"1 inside\n"
        os.close(fds[0])
        node.wait(lambda: len(held(node)) == 2)
    assert len(taken) == 3, taken
    assert set(os.listdir(node.path / "data/containers")) - ahead(node) == {
        "one", "two", "three"}
    printed(node, "one", "echo of-one >/tmp/own")
    assert printed(node, "two", "ls /tmp") == "mark\n"
    for id in "one", "two", "three":
        remove(node, id)


def test_program_begins_with_its_start(node):
    """Until then it has been executed, and nothing of it has run."""
    wanted = config("sh", "-c", "echo begun >/mark; exec sleep 1000")
    make_ahead(node, wanted)
    for pid in held(node):
        assert open("/proc/%d/cmdline" % pid).read().startswith("sh\0-c\0")
        assert not os.path.exists("/proc/%d/root/mark" % pid)
    reply = start(node, "mark", wanted)
    node.wait(lambda: os.path.exists("/proc/%d/root/mark" % reply.pid))


def test_one_that_was_killed_is_not_taken(node):
    """Nor made again before the next start, for that may end the same way."""
    wanted = config("sleep", "1000")
    make_ahead(node, wanted)
    one, other = held(node)
    os.kill(one, 9)
    assert start(node, "other", wanted).pid == other
    node.wait(lambda: len(held(node)) == 2)
    assert children(node, "State:\tZ (zombie)") == set()
    killed = held(node)
    for pid in killed:
        os.kill(pid, 9)
    node.wait(lambda: ahead(node) == set())
    assert held(node) == set()
    assert start(node, "new", wanted).pid not in killed
    node.wait(lambda: len(held(node)) == 2)
    assert children(node, "State:\tZ (zombie)") == set()


def test_others_do_not_get_it(node):
    """What differs in a byte of the config is started as it says."""
    make_ahead(node, config("sleep", "1000"))
    other = config("sleep", "2000")
    before = ahead(node)
    reply = start(node, "other", other)
    assert "sleep\0002000\0" == open("/proc/%d/cmdline" % reply.pid).read()
    assert ahead(node) == before
    remove(node, "other")


def test_end_is_told_however_soon_it_comes(node):
    wanted = readonly("sh", "-c", "exit 7")
    for _ in range(12):
        start(node, "soon", wanted)
        assert node.ended("soon", 0) == (CLD_EXITED, 7, b"")
        node.wait_ended("soon")
        assert node.ask(DELETE, id="soon").error == 0


def test_some_hundred_in_a_row(node):
    """Each begins and ends, and serve is still the one that it was."""
    wanted, serve = readonly("true"), node.serve_pid()
    for _ in range(800):
        start(node, "quick", wanted)
        node.wait_ended("quick")
        assert node.ask(DELETE, id="quick").error == 0
    assert node.serve_pid() == serve


def test_they_go_with_the_image(node):
    make_ahead(node, config("sleep", "1000"))
    held_then = held(node)
    assert node.ask(FORGET, digest=node.digest).error == 0
    node.wait(lambda: not children(node, "Name:\tsleep"))
    assert not any(os.path.exists("/proc/%d" % pid) for pid in held_then)
    node.wait(lambda: os.listdir(node.path / "data/containers") == [])


def test_they_go_with_serve(node):
    make_ahead(node, config("sleep", "1000"))
    assert node.kill_serve()
    assert node.list() == {}
    node.wait(lambda: not children(node, "Name:\tsleep"))
    assert os.listdir(node.path / "data/containers") == []


def sleeping(node):
    """How many containers run, or were not reaped yet."""
    return subprocess.run(
        ["ps", "--ppid", str(node.init.pid), "-o", "comm="],
        stdout=subprocess.PIPE, text=True).stdout.count("sleep")


def test_kill_of_serve_while_one_is_taken(kills):
    """It becomes a container that is listed, or nothing of it is left."""
    seeded = random.Random(5)
    wanted = config("sleep", "1000")
    for node, n in kills(60 if FULL else 5):
        make_ahead(node, wanted)
        fd = sealed(wanted)
        connection = node.connect()
        connection.send(struct.pack(
            "<IIII64s72s256s192s", 600, START, 0, 0, b"cut",
            node.digest.encode(), b"", b""), [fd])
        os.close(fd)
        select.select([connection.socket], [], [], seeded.random() / 2000)
        node.kill_serve()
        rows = node.list()
        assert node.states() == set(rows)
        assert set(os.listdir(node.path / "data/containers")) == set(rows)
        node.wait(lambda: sleeping(node) == len(rows))
        for id in rows:
            remove(node, id)
