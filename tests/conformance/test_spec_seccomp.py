"""OCI runtime specification: config-linux.md, seccomp."""

import json
import os
import select
import signal
import socket
import threading

import pytest

from oci import DEADLINE, refused, spec, takes_i386

MKDIR, PERSONALITY = 83, 135  # of x86_64
ENOSYS, EPERM = 38, 1


def profile(bundle, *rules, default="SCMP_ACT_ALLOW", **more):
    bundle.linux["seccomp"] = {
        "defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": list(rules), **more}


def rule(action, *names, **more):
    return {"names": list(names), "action": action, **more}


@spec("config-linux.md: seccomp")
def test_filter_is_loaded(bundle):
    profile(bundle)
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir"))
    assert bundle.out("grep Seccomp: /proc/self/status").split() == [
        "Seccomp:", "2"]


@spec("config-linux.md: seccomp, errnoRet")
@pytest.mark.parametrize("errno, want", [(None, EPERM), (95, 95), (1, 1)])
def test_errno(bundle, errno, want):
    more = {} if errno is None else {"errnoRet": errno}
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir", **more))
    assert bundle.out("probe call %d /tmp/x 0755" % MKDIR) == "-%d\n" % want


@spec("config-linux.md: seccomp, defaultErrnoRet")
@pytest.mark.parametrize("errno, want", [(None, EPERM), (95, 95)])
def test_default_errno(bundle, errno, want):
    """Everything is allowed that busybox and probe need, all else fails."""
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h") as header:
        names = [line.split()[1][5:] for line in header
                 if line.startswith("#define __NR_")]
    names.remove("mkdir")
    more = {} if errno is None else {"defaultErrnoRet": errno}
    profile(bundle, rule("SCMP_ACT_ALLOW", *names), default="SCMP_ACT_ERRNO",
            **more)
    assert bundle.out("probe call %d /tmp/x 0755" % MKDIR) == "-%d\n" % want


@spec("config-linux.md: seccomp, errnoRet")
@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_ALLOW",
                                    "SCMP_ACT_TRAP", "SCMP_ACT_LOG"])
def test_errno_for_an_action_without_one(bundle, action):
    profile(bundle, rule(action, "mkdir", errnoRet=5))
    refused(bundle)


@spec("config-linux.md: seccomp, action")
@pytest.mark.parametrize("action, number", [
    ("SCMP_ACT_KILL", signal.SIGSYS), ("SCMP_ACT_KILL_THREAD", signal.SIGSYS),
    ("SCMP_ACT_KILL_PROCESS", signal.SIGSYS), ("SCMP_ACT_TRAP", signal.SIGSYS)])
def test_action_that_ends_the_process(bundle, action, number):
    profile(bundle, rule(action, "mkdir"))
    said = bundle.out("probe call %d /tmp/x 0755 2>/dev/null; echo $?"
                      % MKDIR)
    assert said.split()[-1] == str(128 + number)


@spec("config-linux.md: seccomp, action")
@pytest.mark.parametrize("action, want", [
    ("SCMP_ACT_ALLOW", 0), ("SCMP_ACT_LOG", 0), ("SCMP_ACT_TRACE", -ENOSYS)])
def test_action_that_goes_on(bundle, action, want):
    """TRACE without a tracer is ENOSYS."""
    profile(bundle, rule(action, "mkdir"), rule("SCMP_ACT_ERRNO", "rmdir"))
    assert bundle.out("probe call %d /tmp/x 0755" % MKDIR) == "%d\n" % want


OPERATORS = [  # op, value, valueTwo, matches 5, 6, 7
    ("SCMP_CMP_NE", 6, 0, "yes no yes"), ("SCMP_CMP_LT", 6, 0, "yes no no"),
    ("SCMP_CMP_LE", 6, 0, "yes yes no"), ("SCMP_CMP_EQ", 6, 0, "no yes no"),
    ("SCMP_CMP_GE", 6, 0, "no yes yes"), ("SCMP_CMP_GT", 6, 0, "no no yes"),
    ("SCMP_CMP_MASKED_EQ", 1, 1, "yes no yes")]


@spec("config-linux.md: seccomp, args")
@pytest.mark.parametrize("op, value, two, want", OPERATORS,
                         ids=[o[0] for o in OPERATORS])
def test_operator(bundle, op, value, two, want):
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir", errnoRet=77, args=[
        {"index": 1, "value": value, "valueTwo": two, "op": op}]))
    said = bundle.out("for n in 5 6 7; do probe call %d /tmp/x$n $n; done"
                      % MKDIR)
    assert " ".join("yes" if s == "-77" else "no"
                    for s in said.split()) == want


@spec("config-linux.md: seccomp, args")
def test_all_arguments_must_match(bundle):
    profile(bundle, rule("SCMP_ACT_ERRNO", "personality", errnoRet=77, args=[
        {"index": 0, "value": 0xffffffff, "op": "SCMP_CMP_EQ"},
        {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]))
    said = bundle.out("probe call 135 0xffffffff 9; "
                      "probe call 135 0xffffffff 8").split()
    assert said[0] == "-77" and said[1] != "-77"


@spec("config-linux.md: seccomp, args")
def test_arguments_have_64_bits(bundle):
    profile(bundle, rule("SCMP_ACT_ERRNO", "personality", errnoRet=77, args=[
        {"index": 5, "value": 1 << 40, "op": "SCMP_CMP_GE"}]))
    said = bundle.out("probe call 135 0xffffffff 0 0 0 0 0x10000000000; "
                      "probe call 135 0xffffffff 0 0 0 0 0xffffffff").split()
    assert said[0] == "-77" and said[1] != "-77"


@spec("config-linux.md: seccomp, names")
def test_names_are_required(bundle):
    profile(bundle, {"names": [], "action": "SCMP_ACT_ERRNO"})
    refused(bundle)


@spec("config-linux.md: seccomp")
@pytest.mark.parametrize("change", [
    lambda s: s.pop("defaultAction"),
    lambda s: s.update(defaultAction="SCMP_ACT_FUTURE"),
    lambda s: s.update(architectures=["SCMP_ARCH_FUTURE"]),
    lambda s: s.update(flags=["SECCOMP_FILTER_FLAG_FUTURE"]),
    lambda s: s["syscalls"].append(rule("SCMP_ACT_FUTURE", "mkdir")),
    lambda s: s["syscalls"].append({"names": ["mkdir"]}),
    lambda s: s["syscalls"].append(rule("SCMP_ACT_ERRNO", "mkdir", args=[
        {"index": 0, "value": 1, "op": "SCMP_CMP_FUTURE"}])),
    lambda s: s["syscalls"].append(rule("SCMP_ACT_ERRNO", "mkdir", args=[
        {"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])),
], ids=["no default", "default", "architecture", "flag", "action",
        "no action", "operator", "index"])
def test_profile_that_is_wrong(bundle, change):
    profile(bundle)
    change(bundle.linux["seccomp"])
    refused(bundle)


@spec("config-linux.md: seccomp, names")
def test_call_that_nobody_knows(bundle):
    """A profile written for newer kernels still loads."""
    profile(bundle, rule("SCMP_ACT_ERRNO", "no_such_call", "mkdir"))
    assert bundle.out("probe call %d /tmp/x 0755" % MKDIR) == "-1\n"


@spec("config-linux.md: seccomp, architectures")
def test_architectures(bundle):
    """The filter holds for the 32-bit calls as well: mkdir is 39 there."""
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir", errnoRet=77))
    bundle.linux["seccomp"]["architectures"] += ["SCMP_ARCH_X86",
                                                 "SCMP_ARCH_X32"]
    said = bundle.out("probe int80 39 0 0755 2>/dev/null; echo $?")
    assert said == ("-77\n0\n" if takes_i386() else
                    "%d\n" % (128 + signal.SIGSEGV))


@spec("config-linux.md: seccomp, flags")
@pytest.mark.parametrize("flag", ["TSYNC", "LOG", "SPEC_ALLOW"])
def test_flag(bundle, flag):
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir"),
            flags=["SECCOMP_FILTER_FLAG_" + flag])
    assert bundle.out("probe call %d /tmp/x 0755" % MKDIR) == "-1\n"


@spec("config-linux.md: seccomp")
@pytest.mark.parametrize("nnp", [True, False])
def test_filter_with_and_without_new_privileges(bundle, nnp):
    bundle.process["noNewPrivileges"] = nnp
    bundle.process["user"] = {"uid": 5, "gid": 5}
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir"))
    assert bundle.out("probe call %d /tmp/x 0755" % MKDIR) == "-1\n"


class SeccompAgent:
    """Whom the runtime sends the filter's descriptor."""

    def __init__(self, path):
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen()
        self.server.settimeout(DEADLINE)
        self.connections, self.fds, self.text = 0, [], b""
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self):
        connection, _ = self.server.accept()
        connection.settimeout(DEADLINE)
        self.connections += 1
        while True:
            part, fds, _, _ = socket.recv_fds(connection, 65536, 8)
            self.fds += fds
            if not part:
                return
            self.text += part

    def close(self):
        self.server.close()
        for fd in self.fds:
            os.close(fd)


@spec("config-linux.md: seccomp, listenerPath")
def test_listener_gets_the_container_process_state(bundle):
    agent = SeccompAgent(bundle.path / "agent")
    profile(bundle, rule("SCMP_ACT_NOTIFY", "mkdir"),
            listenerPath=str(bundle.path / "agent"),
            listenerMetadata="for whom it concerns")
    bundle.config["annotations"] = {"a": "b"}
    name = bundle.started("sleep", "1000")
    agent.thread.join(DEADLINE)
    assert not agent.thread.is_alive(), "the connection was not closed"
    state = json.loads(agent.text)
    assert state["ociVersion"].startswith("1.")
    assert state["fds"] == ["seccompFd"] and len(agent.fds) == 1
    assert "seccomp" in os.readlink("/proc/self/fd/%d" % agent.fds[0])
    assert state["pid"] == bundle.state(name)["pid"]
    assert state["metadata"] == "for whom it concerns"
    assert state["state"]["id"] == name
    assert state["state"]["status"] in ("creating", "created")
    assert state["state"]["bundle"] == str(bundle.path)
    agent.close()


@spec("config-linux.md: seccomp, listenerPath")
def test_listener_hears_of_the_call(bundle):
    agent = SeccompAgent(bundle.path / "agent")
    profile(bundle, rule("SCMP_ACT_NOTIFY", "mkdir"),
            listenerPath=str(bundle.path / "agent"))
    bundle.started("probe", "call", str(MKDIR), "/tmp/x", "0755")
    agent.thread.join(DEADLINE)
    assert select.select([agent.fds[0]], [], [], DEADLINE)[0]
    agent.close()


@spec("config-linux.md: seccomp, listenerPath")
def test_listener_that_is_not_there(bundle):
    profile(bundle, rule("SCMP_ACT_NOTIFY", "mkdir"),
            listenerPath=str(bundle.path / "nobody"))
    name, code, _ = bundle.try_create("true")
    assert code != 0 or bundle.call("start", name).returncode != 0


@spec("config-linux.md: seccomp, listenerPath")
def test_listener_is_ignored_without_notify(bundle):
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir"),
            listenerPath=str(bundle.path / "nobody"))
    assert bundle.run("true").returncode == 0


@spec("config-linux.md: seccomp, listenerMetadata")
def test_metadata_without_a_listener(bundle):
    profile(bundle, rule("SCMP_ACT_ERRNO", "mkdir"), listenerMetadata="x")
    refused(bundle)
