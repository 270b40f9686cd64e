"""zrun serve puts containers to sleep by criu and wakes them (ZRUN_SLEEP,
ZRUN_WAKE), under `init --supervise` on this machine."""

import copy
import errno
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import test_zrun_serve as serve
from test_zrun_serve import (  # noqa: F401
    DEADLINE, DELETE, FULL, KILL, OUTPUT, SOCKETS, START, kills, node, remove,
    sealed)
from zooid import messages

SLEEP, WAKE = 14, 15

pytestmark = serve.pytestmark

# Only the process's memory knows how far it has counted.
COUNT = "n=0; while :; do n=$((n+1)); echo $n >>/count; sleep 0.02; done"
# Woken, a call that waits has been interrupted: busybox 1.37 takes that for the
# end of any other sleep.
IDLE = ("sleep", "infinity")


class Sleeper:
    def __init__(self, node, id, *args, digest=None, change=None,  # noqa: F811
                 **more):
        self.node, self.id, self.digest = node, id, digest or node.digest
        self.config = serve.config(*args, **more)
        if change:
            change(self.config)
        reply = self.ask(START)
        assert reply.error == 0, reply
        self.pid = reply.pid

    def ask(self, verb, config=None, digest=None, connection=None):
        fd = sealed(config or self.config)
        try:
            return self.node.ask(verb, id=self.id, fds=[fd],
                                 digest=digest or self.digest,
                                 connection=connection)
        finally:
            os.close(fd)

    def sleep(self):
        reply = self.ask(SLEEP)
        assert reply.error == 0, (reply, self.node.read_log())
        assert self.state() == "asleep"

    def wake(self):
        reply = self.ask(WAKE)
        assert reply.error == 0, (reply, self.node.read_log())
        self.pid = reply.pid
        assert self.node.list()[self.id] == ("running", reply.pid)

    def state(self):
        return self.node.list().get(self.id, ("gone",))[0]

    def inside(self, script):
        reply = self.node.exec(self.id, 1, "sh", "-c", script)
        assert reply.error == 0, reply
        said = reply.output.read().decode()
        self.node.ended(self.id, 1)
        self.node.drop(self.id, 1)
        return said

    def upper(self, name):
        return self.node.path / "data/containers" / self.id / "upper" / name

    def count(self):
        """Each number once, which it is not when it begins anew."""
        path = self.upper("count")
        said = path.read_text().split() if path.exists() else []
        assert said == [str(n + 1) for n in range(len(said))]
        return len(said)

    def wait_count(self, above):
        self.node.wait(lambda: self.count() > above)


@pytest.fixture
def counting(node):  # noqa: F811
    made = Sleeper(node, "sleeper", "sh", "-c", COUNT)
    made.wait_count(3)
    yield made
    if made.state() != "gone":
        remove_any(made)


def remove_any(sleeper):
    if sleeper.state() != "asleep":
        sleeper.node.ask(KILL, id=sleeper.id, arg=9)
        sleeper.node.wait(lambda: sleeper.state() in ("stopped", "asleep"))
    assert sleeper.node.ask(DELETE, id=sleeper.id).error == 0
    assert nothing_left(sleeper.node, sleeper.id)


def nothing_left(node, id):  # noqa: F811
    for part in ("run/zrun", "run/cgroups", "data/containers",
                 "data/checkpoints"):
        if id in os.listdir(node.path / part):
            return False
    return True


def test_goes_on_where_it_was(counting):
    for _ in range(3):
        old = counting.pid
        counting.sleep()
        assert not os.path.exists("/proc/%d" % old)
        assert not os.path.lexists(counting.node.cgroup("sleeper"))
        was = counting.count()
        counting.wake()
        counting.wait_count(was + 2)
    status = open("/proc/%d/status" % counting.pid).read()
    assert "PPid:\t%d\n" % counting.node.init.pid in status


def wider(config):
    config["process"]["capabilities"] = {"bounding": ["CAP_SYS_ADMIN"]}


def elsewhere(config):
    config["mounts"].append({"destination": "/etc", "type": "bind",
                             "source": "/etc", "options": ["bind"]})


@pytest.mark.parametrize("change", [wider, elsewhere])
def test_refused_to_who_asks_for_more(counting, change):
    """By the policy that a start has; it sleeps on, and wakes to what it may.
    """
    counting.sleep()
    was = counting.count()
    other = copy.deepcopy(counting.config)
    change(other)
    reply = counting.ask(WAKE, other)
    assert reply.error < 0 and "refused: " in reply.text, reply
    assert counting.state() == "asleep"
    counting.wake()
    counting.wait_count(was)


def test_init_knows_it_as_before(counting):
    node = counting.node  # noqa: F811
    counting.sleep()
    assert node.from_init(serve.PIDFD, "sleeper")[0][0] == -errno.ENOENT
    assert node.from_init(OUTPUT, "sleeper", 1)[0][0] == -errno.ENOENT
    counting.wake()
    node.ask(KILL, id="sleeper", arg=9)
    assert node.ended("sleeper", 0)[:2] == (serve.CLD_KILLED, 9)


def test_output_goes_on(node):  # noqa: F811
    said = Sleeper(node, "says", "sh", "-c",
                   "trap 'echo out; echo err >&2' USR1; while :; do "
                   "sleep 0.02; done")
    time.sleep(0.1)
    said.sleep()
    said.wake()
    node.ask(KILL, id="says", arg=signal.SIGUSR1)
    for n, text in ((1, b"out\n"), (2, b"err\n")):
        (error, _), fds = node.from_init(OUTPUT, "says", n)
        assert error == 0 and select.select(fds, [], [], DEADLINE)[0]
        assert os.read(fds[0], 100) == text
        os.close(fds[0])
    remove_any(said)


def test_input_that_never_ends(node):  # noqa: F811
    """Nor does it end while it sleeps, and what it waited with goes on."""
    def change(config):
        config["annotations"]["org.zooid.stdin"] = "open"
    made = Sleeper(node, "input", "sh", "-c", "cat; echo end", change=change)
    look = "ls -l /proc/1/fd | sed 's/.*-> //;s/[0-9]*//g'; ps | grep -c [c]at"
    before = made.inside(look)
    for _ in range(2):
        made.sleep()
        made.wake()
        assert made.inside(look) == before
    (error, _), fds = node.from_init(OUTPUT, "input", 1)
    assert error == 0 and not select.select(fds, [], [], 0.2)[0]
    os.close(fds[0])
    remove_any(made)


# Without times of files: what is made anew has its own.
LOOK = """
cut -d' ' -f5,6,8 /proc/1/mountinfo | sort
grep -E 'Cap|Seccomp:|NoNew|Uid|Gid|Groups|NSpid|NSsid' /proc/1/status
cat /proc/self/cgroup /proc/1/oom_score_adj; hostname
busybox stat -c '%A %h %u:%g %t,%T %N' /dev/* /etc/given
ls -l /proc/1/fd | sed 's/.*-> //;s/[0-9]*//g'
cat /etc/given /data/kept
readlink /proc/1/exe /proc/1/cwd
ip addr 2>&1; ip route 2>&1; ip rule 2>&1
! touch /proc/sys/vm/x /sys/x 2>&1
wc -c </proc/timer_list
cat /proc/sys/net/ipv4/ip_unprivileged_port_start
"""


def test_what_it_sees_is_the_same(node):  # noqa: F811
    (node.path / "data/volumes/kept").mkdir()
    (node.path / "data/volumes/kept/kept").write_text("kept\n")

    def change(config):
        config["mounts"] += [
            {"destination": "/sys/fs/cgroup", "type": "cgroup",
             "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/dev/pts", "type": "devpts"},
            {"destination": "/dev/shm", "type": "tmpfs",
             "options": ["nosuid", "noexec", "nodev", "mode=1777"]},
            {"destination": "/etc/given", "type": "file",
             "source": "given\n", "options": ["mode=0440", "gid=33"]},
            {"destination": "/data", "type": "bind",
             "source": str(node.path / "data/volumes/kept")}]
        # The limits of others are read by who has CAP_SYS_RESOURCE only,
        # which not every machine of tests gives; nodes do.
        config["process"]["user"] = {"uid": 0, "gid": 0,
                                     "additionalGids": [7]}
        config["process"]["oomScoreAdj"] = 100

    made = Sleeper(node, "view", "sh", "-c", "cd /tmp; exec sleep infinity",
                   address="10.64.0.21", change=change)
    # The image may not have it.
    before = made.inside(LOOK)
    assert "given\nkept\n" in before and "10.64.0.21" in before
    made.sleep()
    made.wake()
    assert made.inside(LOOK) == before
    remove_any(made)
    assert (node.path / "data/volumes/kept/kept").exists()


@pytest.mark.parametrize("more", [
    [], [{"destination": "/not/in/the/image", "type": "tmpfs"}]])
def test_readonly_root(node, more):  # noqa: F811
    """Shared with others; and, for a place to mount on, with a layer."""
    def change(config):
        config["root"]["readonly"] = True
        config["mounts"] += more

    made = Sleeper(node, "shared", *IDLE, change=change)
    look = ("cut -d' ' -f5,6 /proc/1/mountinfo | cut -d, -f1 | sort; "
            "! touch /x 2>&1; mount | grep ' / ' | cut -d, -f1")
    before = made.inside(look)
    made.sleep()
    made.wake()
    assert made.inside(look) == before
    remove_any(made)


def web_socket(made, address):
    """Connected to its web server, as znet does it."""
    reply = made.node.ask(SOCKETS, id=made.id, arg=1)
    assert reply.error == 0, reply
    s = socket.socket(fileno=reply.fds[0])
    s.settimeout(DEADLINE)
    s.bind(("192.0.2.77", 0))
    try:
        s.connect((address, 80))
    except OSError:
        s.close()
        return None
    return s


def get(made, address):
    s = web_socket(made, address)
    if not s:
        return b""
    s.sendall(b"GET /cgi-bin/client HTTP/1.0\r\n\r\n")
    said = b""
    while part := s.recv(4096):
        said += part
    s.close()
    return said


def test_web_server_answers_on_the_same_address(node):  # noqa: F811
    made = Sleeper(node, "web", "httpd", "-f", "-h", "/www",
                   address="10.64.0.22")
    node.wait(lambda: b"192.0.2.77" in get(made, "10.64.0.22"))
    for _ in range(3):
        made.sleep()
        (error, _), _ = node.from_init(serve.TUN, "web")
        assert error == -errno.ENOENT
        made.wake()
        assert b"192.0.2.77" in get(made, "10.64.0.22")
        (error, _), fds = node.from_init(serve.TUN, "web")
        assert error == 0
        os.close(fds[0])
    remove_any(made)


def test_with_a_connection_it_stays_awake(node):  # noqa: F811
    made = Sleeper(node, "busy", "httpd", "-f", "-h", "/www",
                   address="10.64.0.23")
    node.wait(lambda: get(made, "10.64.0.23"))
    held = web_socket(made, "10.64.0.23")
    held.sendall(b"GET /cgi-bin/client HTTP/1.0\r\n")
    reply = made.ask(SLEEP)
    assert reply.error == -errno.EINVAL and "busy: " in reply.text, reply
    assert "onnected" in reply.text, reply
    assert made.state() == "running"
    held.sendall(b"\r\n")
    assert b"200 OK" in held.recv(1000)
    held.close()
    node.wait(lambda: made.ask(SLEEP).error == 0)
    made.wake()
    remove_any(made)


def test_frozen_stays_frozen_when_it_cannot_sleep(node):  # noqa: F811
    made = Sleeper(node, "stiff", *IDLE)
    extra = node.exec("stiff", 1, "sleep", "1000")
    freeze = node.cgroup("stiff") / "cgroup.freeze"
    freeze.write_text("1")
    reply = made.ask(SLEEP)
    assert reply.error == -errno.EBUSY and "exec" in reply.text, reply
    assert freeze.read_text() == "1\n" and made.state() == "running"
    freeze.write_text("0")
    os.kill(extra.pid, 9)
    node.ended("stiff", 1)
    node.drop("stiff", 1)
    freeze.write_text("1")
    made.sleep()
    made.wake()
    assert (node.cgroup("stiff") / "cgroup.freeze").read_text() == "0\n"
    remove_any(made)


def test_who_shares_a_namespace_stays_awake(node):  # noqa: F811
    first = Sleeper(node, "first", *IDLE)

    def change(config):
        for ns in config["linux"]["namespaces"]:
            if ns["type"] == "network":
                ns["path"] = "/proc/%d/ns/net" % first.pid

    second = Sleeper(node, "second", "sleep", "1000", change=change)
    for one, other in ((first, "second"), (second, "first")):
        reply = one.ask(SLEEP)
        assert reply.error == -errno.EBUSY
        assert "shares a namespace with " + other in reply.text
    remove_any(second)
    first.sleep()
    joined = serve.config("sleep", "1000")
    joined["linux"]["namespaces"][1]["path"] = "/proc/%d/ns/net" % os.getpid()
    assert first.ask(WAKE, config=joined).error == -errno.ESRCH
    first.wake()
    remove_any(first)


def test_who_sleeps_is_not_there_to_others(counting):
    node = counting.node  # noqa: F811
    counting.sleep()
    assert node.ask(KILL, id="sleeper", arg=9).error == -errno.ESRCH
    assert node.exec("sleeper", 1, "true").error == -errno.ESRCH
    assert counting.ask(SLEEP).error == -errno.ESRCH
    assert counting.ask(START).error == -errno.EEXIST
    assert node.ask(serve.FORGET,
                    digest=node.digest).error == -errno.EBUSY
    counting.wake()
    reply = counting.ask(WAKE)
    assert reply.error == -errno.EBUSY and "does not sleep" in reply.text


def test_it_does_not_wake_as_something_else(counting):
    counting.sleep()
    wider = serve.config("sh", "-c", COUNT)
    wider["process"]["capabilities"]["bounding"] = ["CAP_SYS_ADMIN"]
    reply = counting.ask(WAKE, config=wider)
    assert reply.error == -errno.EPERM and "CAP_SYS_ADMIN" in reply.text
    reply = counting.ask(WAKE, digest="sha256:" + 64 * "0")
    assert reply.error == -errno.EINVAL and "another one" in reply.text
    assert counting.state() == "asleep"
    was = counting.count()
    counting.wake()
    counting.wait_count(was + 2)


def test_deleted_while_it_sleeps(counting):
    counting.sleep()
    assert counting.node.ask(DELETE, id="sleeper").error == 0
    assert nothing_left(counting.node, "sleeper")


@pytest.mark.parametrize("damage", ["pages-1.img", "pstree.img", "mounts.d/0",
                                    "core-1.img", "sizes"])
def test_damaged_checkpoint_leaves_a_cold_start(counting, damage):
    counting.sleep()
    path = counting.node.path / "data/checkpoints/sleeper" / damage
    if path.is_dir():
        shutil.rmtree(path)
    else:
        os.truncate(path, path.stat().st_size // 2)
    reply = counting.ask(WAKE)
    assert reply.error < 0 and "sleeper: " in reply.text, reply
    assert counting.state() == "gone"
    assert nothing_left(counting.node, "sleeper")
    assert counting.ask(START).error == 0


def test_no_room_for_a_checkpoint(counting):
    place = counting.node.path / "data/checkpoints"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", place],
                   check=True)
    try:
        counting.node.kill_serve()
        counting.node.wait(lambda: counting.node.serve_pid())
        counting.node.wait(lambda: reaches(counting.node))
        reply = counting.ask(SLEEP)
        assert reply.error < 0 and "sleeper: " in reply.text, reply
        assert counting.state() == "running"
        counting.wait_count(counting.count() + 2)
        assert os.listdir(place) == []
    finally:
        counting.node.kill_serve()
        counting.node.wait(lambda: counting.node.serve_pid())
        counting.node.wait(lambda: reaches(counting.node))
        subprocess.run(["umount", "-l", place], check=True)
        counting.node.kill_serve()
        counting.node.wait(lambda: reaches(counting.node))


def reaches(node):  # noqa: F811
    try:
        node.list()
        return True
    except OSError:
        return False


def test_sleep_outlives_serve(kills):  # noqa: F811
    for node, n in kills(1):  # noqa: F811
        made = Sleeper(node, "dormouse", "sh", "-c", COUNT,
                       address="10.64.0.24")
        made.wait_count(3)
        made.sleep()
        node.kill_serve()
        node.wait(lambda: reaches(node))
        assert made.state() == "asleep"
        was = made.count()
        made.wake()
        made.wait_count(was + 2)
        remove_any(made)
        break


def test_serve_ends_before_init_forgets_who_sleeps(kills):  # noqa: F811
    """What init still has of it then is in the way of none that wakes."""
    for node, n in kills(1):  # noqa: F811
        made = Sleeper(node, "dormouse", "sh", "-c", COUNT,
                       address="10.64.0.24")
        made.sleep()
        # Init takes its own children alone.
        other = Sleeper(node, "other", "sleep", "1000")
        pidfd = os.pidfd_open(other.pid)
        pipe = os.pipe()
        init = messages.Init(node.path / "run")
        init.call(messages.INIT_PUT, messages.KIND_PIDFD, made.id, 0,
                  fds=[pidfd])
        init.put_output(made.id, 1, pipe[0])
        remove_any(other)
        node.kill_serve()
        node.wait(lambda: reaches(node))
        made.wake()
        made.wait_count(made.count() + 1)
        remove_any(made)
        for fd in (pidfd, *pipe):
            os.close(fd)
        break


def find_child(pid, named):
    for child in open("/proc/%d/task/%d/children" % (pid, pid)).read().split():
        try:
            if named in open("/proc/%s/comm" % child).read():
                return int(child)
            if found := find_child(int(child), named):
                return found
        except OSError:
            pass
    return 0


def kill_criu(node, after_s):  # noqa: F811
    """Once it is there, so long after; it may be gone by then."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pid = find_child(node.init.pid, "criu")
        if pid:
            time.sleep(after_s)
            try:
                os.kill(pid, 9)
            except OSError:
                pass
            return


@pytest.mark.parametrize("verb", [SLEEP, WAKE])
def test_criu_killed_at_any_time(node, verb):  # noqa: F811
    """What it was about is neither whole nor as before: only a start from
    the image is left, and that works."""
    seen = set()
    random.seed(verb)
    for n in range(40 if FULL else 8):
        made = Sleeper(node, "victim", "sh", "-c", COUNT)
        made.wait_count(0)
        if verb == WAKE:
            made.sleep()
        killer = threading.Thread(target=kill_criu, args=[
            node, random.uniform(0, 0.01)])
        killer.start()
        reply = made.ask(verb)
        killer.join()
        if reply.error:
            node.wait(lambda: made.state() in ("gone", "stopped"))
            if made.state() == "stopped":
                assert node.ask(DELETE, id="victim").error == 0
            assert nothing_left(node, "victim"), reply
        else:
            if verb == SLEEP:
                made.wake()
            made.wait_count(made.count() + 1)
            remove_any(made)
        seen.add(reply.error != 0)
    assert True in seen, "criu was never hit"


@pytest.mark.parametrize("verb", [SLEEP, WAKE])
def test_kill_of_serve_at_any_time(kills, verb):  # noqa: F811
    """It sleeps, runs or has ended, and from each of them a service comes
    back."""
    random.seed(verb)
    for node, n in kills(40 if FULL else 5):  # noqa: F811
        made = Sleeper(node, "victim%d" % n, "sh", "-c", COUNT)
        made.wait_count(0)
        if verb == WAKE:
            made.sleep()
        killer = threading.Timer(random.uniform(0, 0.05), node.kill_serve)
        killer.start()
        try:
            made.ask(verb)
        except OSError:
            pass
        killer.join()
        node.wait(lambda: reaches(node))
        state = made.state()
        assert state in ("asleep", "running", "stopped"), state
        if state == "asleep":
            made.wake()
            state = "running"
        if state == "running":
            made.wait_count(made.count() + 1)
        else:
            assert node.ask(DELETE, id=made.id).error == 0
            assert nothing_left(node, made.id)
            assert made.ask(START).error == 0
        remove_any(made)


def test_many_sleep_and_wake(node):  # noqa: F811
    """At once, and each wakes as itself."""
    many = [Sleeper(node, "many%d" % n, "sh", "-c", COUNT,
                    address="10.64.1.%d" % (n + 1)) for n in range(8)]
    for made in many:
        made.wait_count(1)
    for verb in (SLEEP, WAKE) * 2:
        replies = []
        threads = [threading.Thread(
            target=lambda made=made: replies.append(
                made.ask(verb, connection=node.connect())))
            for made in many]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [r.error for r in replies] == [0] * 8, replies
    for made in many:
        made.wait_count(made.count() + 1)
        remove_any(made)
