"""linux.seccomp: actions, comparisons, flags, and the agent that answers
notified calls."""

import errno
import fcntl
import json
import os
import socket
import struct
import threading

import pytest

from test_zrun import DEADLINE, bundle, pytestmark  # noqa: F401

NOTIF_RECV, NOTIF_SEND = 0xc0502100, 0xc0182101
SIGSYS = 31


def profile(*rules, default="SCMP_ACT_ALLOW", **more):
    return {"defaultAction": default, "syscalls": list(rules), **more}


def rule(action, *names, **more):
    return {"names": list(names), "action": "SCMP_ACT_" + action, **more}


def mkdir(bundle, *rules, **more):
    bundle.config["root"]["readonly"] = False
    bundle.config["linux"]["seccomp"] = profile(*rules, **more)
    return bundle.run("mkdir", "/tmp/x")


# ---------------------------------------------------------------- actions

@pytest.mark.parametrize("action, more, code, said", [
    ("ALLOW", {}, 0, ""),
    ("LOG", {}, 0, ""),
    ("ERRNO", {}, 1, os.strerror(errno.EPERM)),
    ("ERRNO", {"errnoRet": errno.ENOSPC}, 1, os.strerror(errno.ENOSPC)),
    ("TRACE", {"errnoRet": 1}, 1, "Function not implemented"),
    ("TRAP", {}, 128 + SIGSYS, ""),
    ("KILL", {}, 128 + SIGSYS, ""),
    ("KILL_THREAD", {}, 128 + SIGSYS, ""),
    ("KILL_PROCESS", {}, 128 + SIGSYS, ""),
])
def test_action(bundle, action, more, code, said):
    done = mkdir(bundle, rule(action, "mkdir", "mkdirat", **more))
    assert done.returncode == code
    assert said in done.stderr


def test_default_errno(bundle):
    """A list of what is allowed: all else has the default's own errno."""
    bundle.config["root"]["readonly"] = False
    bundle.config["linux"]["seccomp"] = profile(
        rule("ALLOW", *"""
            arch_prctl brk execve exit_group fcntl fstat getrandom getuid
            mprotect prctl prlimit64 readlink readlinkat rseq set_robust_list
            set_tid_address setgid setuid umask write writev
        """.split()),
        default="SCMP_ACT_ERRNO", defaultErrnoRet=errno.ENOMEDIUM)
    done = bundle.run("mkdir", "/tmp/x")
    assert os.strerror(errno.ENOMEDIUM) in done.stderr


# By a signal's number, which is the second argument of kill(2); the first
# process of a pid namespace takes no harm from these.
@pytest.mark.parametrize("op, value, two, refused", [
    ("EQ", 12, 0, "12"), ("NE", 12, 0, "10 23 28"), ("LT", 12, 0, "10"),
    ("LE", 12, 0, "10 12"), ("GT", 12, 0, "23 28"), ("GE", 12, 0, "12 23 28"),
    ("MASKED_EQ", 3, 2, "10"),
])
def test_comparison(bundle, op, value, two, refused):
    bundle.config["linux"]["seccomp"] = profile(rule(
        "ERRNO", "kill", args=[{"index": 1, "value": value, "valueTwo": two,
                                "op": "SCMP_CMP_" + op}]))
    done = bundle.sh("for s in 10 12 23 28; do kill -$s $$ 2>/dev/null || "
                     "echo $s; done")
    assert done.stdout.split() == refused.split()


def test_two_arguments_are_both_needed(bundle):
    bundle.config["linux"]["seccomp"] = profile(rule(
        "ERRNO", "kill", args=[
            {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 12, "op": "SCMP_CMP_EQ"}]))
    done = bundle.sh("for s in 12 15; do kill -$s 1 2>/dev/null || echo $s; "
                     "kill -$s 7777 2>&1 | grep -c permitted; done")
    assert done.stdout.split() == ["12", "0", "0"]


@pytest.mark.parametrize("flag", ["TSYNC", "LOG", "SPEC_ALLOW",
                                  "WAIT_KILLABLE_RECV"])
def test_flag(bundle, flag):
    assert mkdir(bundle, rule("ERRNO", "mkdir"),
                 flags=["SECCOMP_FILTER_FLAG_" + flag]).returncode == 1


def test_unknown_architecture(bundle):
    done = mkdir(bundle, architectures=["SCMP_ARCH_NONE"])
    assert done.returncode == 1
    assert 'linux.seccomp.architectures[0]: "SCMP_ARCH_NONE" is not known' \
        in done.stderr


@pytest.mark.parametrize("last", [True, False])
def test_profile_older_than_close_range(bundle, last):
    """What zrun itself calls at the end must not need the profile's leave."""
    bundle.process["noNewPrivileges"] = last
    bundle.config["linux"]["seccomp"] = profile(
        rule("ERRNO", "close_range"))
    assert bundle.run("true").returncode == 0


@pytest.mark.parametrize("last", [True, False])
def test_another_user(bundle, last):
    bundle.process["noNewPrivileges"] = last
    bundle.process["user"] = {"uid": 5, "gid": 5}
    bundle.config["linux"]["seccomp"] = profile(rule("ERRNO", "mkdir"))
    done = bundle.sh("grep -E '(Seccomp|CapEff):' /proc/self/status")
    assert dict(line.split() for line in done.stdout.splitlines()) == {
        "Seccomp:": "2", "CapEff:": "0" * 16}, done.stderr


# ------------------------------------------------------------------ agent

class Agent:
    """Answers every call that is notified with `error`."""

    def __init__(self, path, error):
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen()
        self.server.settimeout(DEADLINE)
        self.error, self.states, self.calls = error, [], []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _receive(self, connection):
        text, fds = b"", []
        while True:
            data, more, _, _ = socket.recv_fds(connection, 65536, 4)
            fds += more
            if not data:
                return json.loads(text), fds
            text += data

    def _serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(DEADLINE)
                state, fds = self._receive(connection)
            self.states.append(state)
            assert len(fds) == len(state["fds"]) == 1
            threading.Thread(target=self._answer, args=fds,
                             daemon=True).start()

    def _answer(self, fd):
        while True:
            notice = bytearray(80)
            try:
                fcntl.ioctl(fd, NOTIF_RECV, notice)
                cookie, pid = struct.unpack_from("QI", notice)
                self.calls.append(pid)
                fcntl.ioctl(fd, NOTIF_SEND, struct.pack(
                    "QqiI", cookie, 0, -self.error, 0))
            except OSError:
                os.close(fd)
                return


@pytest.fixture
def agent(bundle, tmp_path):
    made = Agent(tmp_path / "agent.sock", errno.EXDEV)
    bundle.config["root"]["readonly"] = False
    bundle.config["linux"]["seccomp"] = profile(
        rule("NOTIFY", "mkdir", "mkdirat"),
        listenerPath=str(tmp_path / "agent.sock"), listenerMetadata="note 7")
    yield made
    made.server.close()


@pytest.mark.parametrize("last", [True, False])
def test_agent_of_run(bundle, agent, last):
    bundle.process["noNewPrivileges"] = last
    bundle.config["annotations"] = {"org.example.key": "value"}
    done = bundle.run("mkdir", "/tmp/x")
    assert "Invalid cross-device link" in done.stderr
    assert done.returncode == 1 and len(agent.calls) == 1
    state, = agent.states
    assert state["fds"] == ["seccompFd"]
    assert state["metadata"] == "note 7"
    assert state["pid"] == state["state"]["pid"] == agent.calls[0]
    inner = state["state"]
    assert (inner["id"], inner["status"], inner["bundle"]) == (
        bundle.ids[-1], "creating", str(bundle.path))
    assert inner["annotations"] == {"org.example.key": "value"}
    assert state["ociVersion"] == inner["ociVersion"]


def test_agent_of_create_and_exec(bundle, agent):
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    done = bundle.zrun("exec", name, "mkdir", "/tmp/x")
    assert "Invalid cross-device link" in done.stderr
    first, second = agent.states
    assert first["pid"] == second["state"]["pid"] == bundle.state(name)["pid"]
    assert second["pid"] == agent.calls[-1] != first["pid"]
    assert second["state"]["status"] == "running"


def test_agent_of_a_container_with_its_own_user_namespace(bundle, agent):
    bundle.give_to(100000)
    done = bundle.run("mkdir", "/tmp/x")
    assert "Invalid cross-device link" in done.stderr, done.stderr


def test_agent_with_a_long_path(bundle, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    here = os.getcwd()
    os.chdir(deep)
    try:
        made = Agent("sock", errno.EXDEV)
    finally:
        os.chdir(here)
    done = mkdir(bundle, rule("NOTIFY", "mkdir"),
                 listenerPath=str(deep / "sock"))
    made.server.close()
    assert "Invalid cross-device link" in done.stderr


def test_no_agent(bundle, tmp_path):
    done = mkdir(bundle, rule("NOTIFY", "mkdir"),
                 listenerPath=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "linux.seccomp.listenerPath (%s): No such file or directory" % (
        tmp_path / "none") in done.stderr
    assert bundle.zrun("list", "-q").stdout == ""


def test_listener_path_without_notify_is_ignored(bundle):
    assert mkdir(bundle, listenerPath="/no/such").returncode == 0
