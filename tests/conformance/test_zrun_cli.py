"""zrun's commands and options, as scripts and engines use them."""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from oci import PROBE
from test_zrun import DEADLINE, ZRUN, bundle, wait_gone  # noqa: F401


@pytest.fixture
def running(bundle):  # noqa: F811
    """(bundle, name of a container that sleeps)."""
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    return bundle, name


def has_controllers():
    with open("/proc/mounts") as mounts:
        trees = [line.split()[1] for line in mounts
                 if line.split()[2] == "cgroup2"]
    return any("memory" in open(t + "/cgroup.controllers").read()
               for t in trees)


# --------------------------------------------------------------------- ps

def test_ps(running):
    bundle, name = running  # noqa: F811
    pid = bundle.state(name)["pid"]
    assert json.loads(bundle.zrun("ps", "-f", "json", name).stdout) == [pid]
    title, *lines = bundle.zrun("ps", name).stdout.splitlines()
    assert "PID" in title.split() and "CMD" in title.split()
    assert [line.split()[1] for line in lines] == [str(pid)]
    assert lines[0].endswith("sleep 1000")


def test_ps_shows_a_child_too_and_takes_options_of_ps(bundle):  # noqa: F811
    bundle.config["root"]["readonly"] = False
    os.mkfifo(bundle.path / "rootfs/tmp/up")
    name = bundle.create("sh", "-c", "sleep 1001 & echo >/tmp/up; wait")
    bundle.zrun("start", name)
    (bundle.path / "rootfs/tmp/up").read_text()
    done = bundle.zrun("ps", name, "-o", "comm,pid")
    title, *lines = done.stdout.splitlines()
    assert title.split() == ["COMMAND", "PID"]
    done = bundle.zrun("ps", name, "-A", "-o", "comm,pid")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "sh", "sleep"]
    done = bundle.zrun("ps", name, "-o", "comm")
    assert done.returncode == 1 and "no column PID" in done.stderr


def test_ps_refuses(running):
    bundle, name = running  # noqa: F811
    assert bundle.zrun("ps", "-f", "xml", name).returncode == 1
    assert bundle.zrun("ps").returncode == 1
    assert "does not exist" in bundle.zrun("ps", "nothing").stderr


# ----------------------------------------------------------------- events

def test_events_stats(running):
    bundle, name = running  # noqa: F811
    event = json.loads(bundle.zrun("events", "--stats", name).stdout)
    assert event["type"] == "stats" and event["id"] == name
    usage = event["data"]["cpu"]["usage"]
    assert usage["total"] >= usage["user"] + usage["kernel"] - 2000
    assert usage["total"] > 0


def test_events_until_the_end(running):
    bundle, name = running  # noqa: F811
    child = subprocess.Popen(
        [ZRUN, "--root", bundle.root, "events", "--interval", "50ms", name],
        stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(3):
            assert json.loads(child.stdout.readline())["type"] == "stats"
        bundle.zrun("kill", name, "KILL")
        assert child.wait(DEADLINE) == 0
    finally:
        child.kill()
    bundle.wait_ended(name)
    done = bundle.zrun("events", "--stats", name)
    assert done.returncode == 1 and "is stopped" in done.stderr


def test_events_tell_of_stalls_where_the_kernel_does(running):
    bundle, name = running  # noqa: F811
    pid = bundle.state(name)["pid"]
    tree = next(line.split()[1] for line in open("/proc/mounts")
                if line.split()[2] == "cgroup2")
    path = next(line[3:].strip() for line in open("/proc/%d/cgroup" % pid)
                if line.startswith("0::"))
    data = json.loads(bundle.zrun("events", "--stats", name).stdout)["data"]
    for part, file in [("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")]:
        there = os.path.exists("%s%s/%s.pressure" % (tree, path, file))
        assert ("psi" in data[part]) == there
        if there:
            assert set(data[part]["psi"]) == {"some", "full"}
            some = data[part]["psi"]["some"]
            assert set(some) == {"avg10", "avg60", "avg300", "total"}
            assert 0 <= some["avg10"] <= 100 and some["total"] >= 0
    assert type(data["hugetlb"]) is dict


@pytest.mark.parametrize("interval", ["0s", "5", "x", "-1s", "s", "1001000s",
                                      "-18446744073709551615s"])
def test_events_refuses_an_interval(running, interval):
    bundle, name = running  # noqa: F811
    done = bundle.zrun("events", "--interval", interval, name)
    assert done.returncode == 1 and "--interval" in done.stderr


# ----------------------------------------------------------------- update

@pytest.mark.parametrize("options, line", [
    (["--memory", "5x"], "--memory 5x: want a number"),
    (["--memory", "9999999999g"], "--memory 9999999999g: want a number"),
    (["--blkio-weight", "9"],
     "--blkio-weight 9: want a number from 10 to 1000"),
    (["--pids-limit", ""], "--pids-limit : want a number"),
    (["--kernel-memory", "1m"],
     "--kernel-memory: cgroup v2 has no such limit"),
    (["--l3-cache-schema", "x"],
     "--l3-cache-schema, --mem-bw-schema: has no linux.intelRdt"),
    (["-r", "none"], "--resources none: No such file or directory"),
    (["-r", "bad"], "--resources: memory.limit: want an integer"),
])
def test_update_refuses(running, options, line):
    bundle, name = running  # noqa: F811
    (bundle.path / "bad").write_text('{"memory": {"limit": "1g"}}')
    done = bundle.zrun("update", *options, name)
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1


def test_update_where_the_controller_is_not_there(running):
    """On a hybrid host; with controllers see test_spec_resources.py."""
    bundle, name = running  # noqa: F811
    done = bundle.zrun("update", "--pids-limit", "5", name)
    if has_controllers():
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "linux.resources.pids.limit" in done.stderr
        assert "no pids.max here" in done.stderr


def test_update_of_a_stopped_container(running):
    bundle, name = running  # noqa: F811
    bundle.zrun("kill", name, "KILL")
    bundle.wait_ended(name)
    done = bundle.zrun("update", "--pids-limit", "5", name)
    assert done.returncode == 1
    assert "cannot update a container that is stopped" in done.stderr


# ---------------------------------------------------------- create and run

def test_config_of_another_name(bundle):  # noqa: F811
    bundle.process["args"] = ["echo", "other"]
    (bundle.path / "other.json").write_text(json.dumps(bundle.config))
    bundle.process["args"] = ["echo", "usual"]
    for option in ("--config", "-f"):
        done = bundle.zrun("run", option, "other.json", bundle.id())
        assert done.stdout == "other\n", done.stderr


def test_no_pivot(bundle):  # noqa: F811
    bundle.process["args"] = ["ls", "/"]
    plain = bundle.zrun("run", bundle.id())
    moved = bundle.zrun("run", "--no-pivot", bundle.id())
    assert plain.stdout == moved.stdout and "rootfs" not in moved.stdout
    bundle.process["args"] = ["sh", "-c", "cd ../../..; pwd; ls"]
    assert bundle.zrun("run", "--no-pivot", bundle.id()).stdout == \
        "/\n" + plain.stdout


KEYCTL, KEYCTL_JOIN, KEYCTL_SEARCH, ADD_KEY, SESSION = 250, 1, 10, 248, -3
ENOKEY = 126


def test_session_keyring(bundle):  # noqa: F811
    """The caller's is not the container's, unless it is told so."""
    shutil.copy(PROBE, bundle.path / "rootfs/bin/probe")
    name = "zrun-test-%d" % os.getpid()
    bundle.process["args"] = ["probe", "call", str(KEYCTL),
                              str(KEYCTL_SEARCH), str(SESSION), "user", name]
    libc = ctypes.CDLL(None, use_errno=True)
    # In a session keyring of a child's own, so that ours stays as it is.
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert libc.syscall(KEYCTL, KEYCTL_JOIN, None) > 0
            key = libc.syscall(ADD_KEY, b"user", name.encode(), b"x", 1,
                               ctypes.c_int(SESSION))
            hidden = bundle.zrun("run", bundle.id()).stdout
            shown = bundle.zrun("run", "--no-new-keyring", bundle.id()).stdout
            assert (int(hidden), int(shown)) == (-ENOKEY, key)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def receive_pidfd(server):
    connection, _ = server.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 64, 1)
    with open("/proc/self/fdinfo/%d" % fds[0]) as info:
        pid = int(re.search(r"^Pid:\s+(\d+)", info.read(), re.M)[1])
    os.close(fds[0])
    return pid


def test_pidfd_socket(bundle):  # noqa: F811
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(bundle.path / "pidfd"))
    server.listen()
    server.settimeout(DEADLINE)
    bundle.process["args"] = ["sleep", "1000"]
    name = bundle.id()
    with open(os.devnull, "w") as null:
        (bundle.path / "config.json").write_text(json.dumps(bundle.config))
        subprocess.run([ZRUN, "--root", bundle.root, "run", "-d",
                        "--pidfd-socket", "pidfd", name], cwd=bundle.path,
                       check=True, stdout=null, stderr=null)
    assert receive_pidfd(server) == bundle.state(name)["pid"]
    with open(os.devnull, "w") as null:
        subprocess.run([ZRUN, "--root", bundle.root, "exec", "-d",
                        "--pid-file", "pid", "--pidfd-socket", "pidfd", name,
                        "sleep", "1000"], cwd=bundle.path, check=True,
                       stdout=null, stderr=null)
    assert receive_pidfd(server) == int((bundle.path / "pid").read_text())
    server.close()
    done = bundle.zrun("run", "--pidfd-socket", "pidfd", bundle.id())
    assert done.returncode == 1 and "--pidfd-socket" in done.stderr
    assert bundle.zrun("list", "-q").stdout.split() == [name]


def with_fds(bundle, environment, *words):  # noqa: F811
    """Runs zrun with a pipe at 3 and 4; (status, what came through 3)."""
    (bundle.path / "config.json").write_text(json.dumps(bundle.config))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(write, 3)
            os.dup2(write, 4)
            os.chdir(bundle.path)
            if "LISTEN_PID" in environment:
                environment["LISTEN_PID"] = str(os.getpid())
            os.execve(ZRUN, [ZRUN, "--root", str(bundle.root), *words],
                      {**os.environ, **environment})
        finally:
            os._exit(99)
    os.close(write)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(read) as pipe:
        return status, pipe.read()


def test_sockets_of_socket_activation(bundle):  # noqa: F811
    bundle.process["args"] = ["sh", "-c",
                              "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES "
                              ">&3; test -e /proc/self/fd/4 && "
                              "! test -e /proc/self/fd/5"]
    environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web",
                   "LISTEN_PID": ""}
    assert with_fds(bundle, environment, "run", "--preserve-fds", "1",
                    bundle.id()) == (0, "1 1 web\n")
    # Those of another process are not ours.
    bundle.process["args"] = ["sh", "-c", "echo x$LISTEN_FDS >&3"]
    os.environ.pop("LISTEN_PID", None)
    (bundle.path / "config.json").write_text(json.dumps(bundle.config))
    done = subprocess.run(
        [ZRUN, "--root", bundle.root, "run", bundle.id()], cwd=bundle.path,
        env={**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"},
        capture_output=True, text=True)
    assert done.returncode != 0 and "bad file descriptor" in \
        done.stderr.lower()


@pytest.mark.parametrize("value", ["x", "-1", "1"])
def test_preserve_fds_that_are_not_open(bundle, value):  # noqa: F811
    for command in ["run"], ["exec"]:
        done = bundle.zrun(*command, "--preserve-fds", value, "a", "b")
        assert done.returncode in (1, 255)
        assert "--preserve-fds" in done.stderr


# ------------------------------------------------------------------- exec

def test_exec_additional_groups(running):
    bundle, name = running  # noqa: F811
    done = bundle.zrun("exec", "-u", "5:6", "-g", "7", "-g", "8", name, "id",
                       "-G")
    assert done.stdout == "6 7 8\n"
    assert "--additional-gids x" in bundle.zrun(
        "exec", "-g", "x", name, "id").stderr


@pytest.mark.parametrize("user", [
    "4294967296", "4294967295", "-1", "99999999999", "5:4294967296", "5:-1",
    "5:", ":5", "", "root", " 5", "5:6:7"])
def test_exec_refuses_a_user(running, user):
    bundle, name = running  # noqa: F811
    done = bundle.zrun("exec", "-u", user, name, "id")
    assert done.returncode == 255 and done.stdout == ""
    assert done.stderr == \
        "zrun: container %s: --user %s: want UID or UID:GID\n" % (name, user)


def test_exec_as_the_highest_user(running):
    bundle, name = running  # noqa: F811
    for user, ids in [("4294967294", (4294967294, 0)), ("5:6", (5, 6))]:
        done = bundle.zrun("exec", "-u", user, name, "sh", "-c",
                           "id -u; id -g")
        assert done.stdout == "%d\n%d\n" % ids


def test_exec_capability(running):
    bundle, name = running  # noqa: F811
    def effective(*options):
        text = bundle.zrun("exec", *options, name, "grep", "CapEff",
                           "/proc/self/status").stdout
        return int(text.split()[1], 16)
    plain = effective()
    assert effective("--cap", "CAP_SYS_CHROOT") == plain | 1 << 18
    assert effective("--cap", "sys_chroot") == plain | 1 << 18
    done = bundle.zrun("exec", "--cap", "CAP_X", name, "true")
    assert done.returncode == 255 and "--cap CAP_X" in done.stderr


def test_exec_in_a_cgroup_below(running):
    bundle, name = running  # noqa: F811
    bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
    pid = bundle.state(name)["pid"]
    own = [line.split("::")[1] for line in
           open("/proc/%d/cgroup" % pid).read().splitlines()
           if line.startswith("0::")][0]
    tree = next(line.split()[1] for line in open("/proc/mounts")
                if line.split()[2] == "cgroup2")
    os.mkdir(tree + own + "/below")
    done = bundle.zrun("exec", "--cgroup", "below", name, "cat",
                       "/proc/self/cgroup")
    assert done.stdout.strip().endswith("/below"), done.stderr
    for bad in "../..", "none", "memory:below":
        done = bundle.zrun("exec", "--cgroup", bad, name, "true")
        assert done.returncode == 255 and "--cgroup " + bad in done.stderr


@pytest.mark.parametrize("option, module", [("--apparmor", "AppArmor"),
                                            ("--process-label", "SELinux")])
def test_exec_with_a_label_of_a_module_that_is_not_there(running, option,
                                                         module):
    bundle, name = running  # noqa: F811
    if module.lower() in open("/sys/kernel/security/lsm").read() \
            if os.path.exists("/sys/kernel/security/lsm") else False:
        pytest.fail("this host has %s: test it" % module)
    done = bundle.zrun("exec", option, "x", name, "true")
    assert done.returncode == 255 and module in done.stderr


def test_exec_in_a_paused_container(running):
    bundle, name = running  # noqa: F811
    bundle.zrun("pause", name)
    done = bundle.zrun("exec", name, "true")
    assert done.returncode == 255 and "--ignore-paused" in done.stderr
    child = subprocess.Popen(
        [ZRUN, "--root", bundle.root, "exec", "--ignore-paused", name, "sh",
         "-c", "exit 3"], stdin=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    bundle.zrun("resume", name)
    assert child.wait(DEADLINE) == 3


# ------------------------------------------------------------------- kill

@pytest.mark.parametrize("spelling, number", [
    ("9", 9), ("KILL", 9), ("SIGKILL", 9), ("kill", 9), ("sigusr1", 10),
    ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("64", 64),
    ("CLD", 17)])
def test_signal_spellings(bundle, spelling, number):  # noqa: F811
    name = bundle.create("sleep", "1000")
    with open("/proc/%d/status" % bundle.state(name)["pid"]) as status:
        assert "SigIgn" in status.read()
    child = subprocess.run(
        ["strace", "-f", "-e", "trace=pidfd_send_signal", ZRUN, "--root",
         bundle.root, "kill", name, spelling], capture_output=True, text=True)
    sent = re.search(r"pidfd_send_signal\(\d+, (\w+)", child.stderr)[1]
    names = {34: "SIGRT_2", 37: "SIGRT_5", 63: "SIGRT_31", 64: "SIGRT_32"}
    assert sent in (names.get(number), signal.Signals(number).name
                    if number not in names else None), child.stderr


@pytest.mark.parametrize("spelling", ["NONE", "65", "-1", "", "RTMIN+31",
                                      "RTMAX+1", "RTMIN+x", " 9", "+9",
                                      "18446744073709551625"])
def test_no_such_signal(running, spelling):
    bundle, name = running  # noqa: F811
    done = bundle.zrun("kill", name, "--", spelling)
    assert done.returncode == 1
    assert bundle.state(name)["status"] == "running"


def test_kill_all(bundle):  # noqa: F811
    mark = "8%06d" % os.getpid()
    bundle.config["linux"]["namespaces"] = [
        ns for ns in bundle.config["linux"]["namespaces"]
        if ns["type"] != "pid"]
    bundle.process["args"] = ["sh", "-c", "sleep %s & sleep %s" % (mark, mark)]
    name = bundle.create(*bundle.process["args"])
    bundle.zrun("start", name)
    assert bundle.zrun("kill", "--all", name, "KILL").returncode == 0
    wait_gone(mark)


# ----------------------------------------------------------------- output

@pytest.mark.parametrize("target, reason", [
    (">/dev/full", "No space left on device"),
    (">&-", "Bad file descriptor")])
@pytest.mark.parametrize("words", [
    "state ID", "list", "list -f json", "list -q", "features", "ps ID",
    "ps -f json ID", "events --stats ID", "events --interval 50ms ID",
    "--help", "--version", "ps --help"])
def test_output_that_cannot_be_written(running, words, target, reason):
    bundle, name = running  # noqa: F811
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" ' + target, "sh", ZRUN, "--root", bundle.root,
         *words.replace("ID", name).split()], stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert done.stderr == "zrun: standard output: %s\n" % reason


# ----------------------------------------------------------------- global

@pytest.mark.parametrize("words, line", [
    (["--systemd-cgroup", "list"], "--systemd-cgroup"),
    (["--cgroup-manager", "systemd", "list"], "--cgroup-manager systemd"),
    (["--cgroup-manager", "x", "list"], "want cgroupfs, systemd or disabled"),
    (["--log-format", "xml", "list"], "want text or json"),
    (["--rootless", "x", "list"], "want true, false or auto"),
    (["--no-such", "list"], "no-such"),
    (["list", "--format", "xml"], "want table or json"),
    (["list", "--no-such"], "no-such"),
    (["spec"], "config.json"),
    (["pause"], "want one container id"),
    (["kill", "a", "b", "c"], "want a container id and a signal"),
])
def test_usage_errors(bundle, words, line):  # noqa: F811
    done = bundle.zrun(*words)
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["--cgroup-manager", "cgroupfs"],
                                   ["--rootless", "auto"], ["--debug"]])
def test_global_options_that_are_taken(bundle, words):  # noqa: F811
    assert bundle.zrun(*words, "list").returncode == 0


def test_without_a_cgroup(bundle):  # noqa: F811
    bundle.process["args"] = ["cat", "/proc/self/cgroup"]
    bundle.config["linux"]["namespaces"] = [
        ns for ns in bundle.config["linux"]["namespaces"]
        if ns["type"] != "cgroup"]
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if m["type"] != "cgroup"]
    del bundle.config["linux"]["resources"]
    done = bundle.zrun("--cgroup-manager", "disabled", "run", bundle.id())
    assert done.returncode == 0, done.stderr
    assert done.stdout == open("/proc/self/cgroup").read()


def test_limits_without_a_cgroup(bundle):  # noqa: F811
    bundle.config["linux"]["resources"] = {"pids": {"limit": 5}}
    done = bundle.zrun("--cgroup-manager", "disabled", "run", bundle.id())
    assert done.returncode == 1 and "limits need a cgroup" in done.stderr
    assert bundle.zrun("list", "-q").stdout == ""


def test_version_as_engines_parse_it(bundle):  # noqa: F811
    for option in "--version", "-v":
        lines = bundle.zrun(option).stdout.splitlines()
        assert re.fullmatch(r"zrun version \S+", lines[0])
        assert re.fullmatch(r"commit: \S+", lines[1])
        assert re.fullmatch(r"spec: 1\.\d+\.\d+", lines[2])


def test_help_of_every_command(bundle):  # noqa: F811
    text = bundle.zrun("--help").stdout
    names = re.findall(r"^  (\w+) ", text, re.M)
    assert set(names) >= set(
        "create start run exec state list ps kill delete pause resume update "
        "events spec features mounts checkpoint restore".split())
    for name in names:
        done = bundle.zrun(name, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith("usage: zrun " + name)
        assert bundle.zrun("help", name).stdout == done.stdout


def test_log_by_crun_s_form_of_a_file(bundle):  # noqa: F811
    bundle.zrun("--log", "file:log", "start", "nothing")
    assert "container does not exist" in (bundle.path / "log").read_text()


def test_log_as_text(bundle):  # noqa: F811
    """As logrus writes it, so that what reads runc's reads it."""
    bundle.zrun("--log", "log", "state", 'no"t\\hing')
    assert re.fullmatch(
        r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=error msg="container '
        r'no\\"t\\\\hing: container does not exist"\n',
        (bundle.path / "log").read_text())


def test_log_as_json_without_a_file(bundle):  # noqa: F811
    done = bundle.zrun("--log-format", "json", "state", "nothing")
    entry = json.loads(done.stderr)
    assert done.returncode == 1 and entry["level"] == "error"
    assert entry["msg"] == "container nothing: container does not exist"


def test_log_that_cannot_be_written(bundle):  # noqa: F811
    done = bundle.zrun("--log", "nowhere/log", "create", bundle.id())
    assert done.returncode == 1
    assert done.stderr == "zrun: --log nowhere/log: No such file or " \
        "directory\n"
    assert bundle.zrun("list", "-q").stdout == ""


# --------------------------------------------------- what runc and crun answer

def test_list_quiet_whatever_the_format(running):
    bundle, name = running  # noqa: F811
    for words in ["-q", "-f", "json"], ["-f", "json", "-q"], ["-q"]:
        assert bundle.zrun("list", *words).stdout == name + "\n"


def test_owner(running):
    bundle, name = running  # noqa: F811
    assert bundle.state(name)["owner"] == "root"
    [listed] = json.loads(bundle.zrun("list", "-f", "json").stdout)
    assert listed["owner"] == "root"
    os.chown(bundle.root / name, 12345, 0)
    assert bundle.state(name)["owner"] == "#12345"


@pytest.mark.parametrize("name", ["a/../b", "..", ".", "a b", "", "x" * 300])
def test_delete_force_of_what_is_no_id(bundle, name):  # noqa: F811
    done = bundle.zrun("delete", "--force", name)
    assert done.returncode == 1 and "invalid id" in done.stderr


def test_pause_of_a_created_container(bundle):  # noqa: F811
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("pause", name).returncode == 0
    assert bundle.state(name)["status"] == "paused"
    done = bundle.zrun("start", name)
    assert done.returncode == 1
    assert "cannot start a container that is paused" in done.stderr
    assert bundle.zrun("pause", name).returncode == 1
    assert bundle.zrun("resume", name).returncode == 0
    assert bundle.state(name)["status"] == "created"
    assert bundle.zrun("resume", name).returncode == 1
    assert bundle.zrun("start", name).returncode == 0


@pytest.mark.parametrize("words, code, line", [
    (["--systemd-cgroup=false", "list", "--quiet=false"], 0, "ID"),
    (["--debug=true", "list", "--quiet=true", "--format=table"], 0, ""),
    (["--systemd-cgroup=true", "list"], 1, "--systemd-cgroup: "),
    (["list", "--quiet=maybe"], 1, "quiet"),
    (["list", "--format=false"], 1, "want table or json"),
    (["run", "--no-pivot=false", "--detach=false", "t"], 3, "")])
def test_flags_with_a_value(bundle, words, code, line):  # noqa: F811
    bundle.process["args"] = ["sh", "-c", "exit 3"]
    done = bundle.zrun(*words)
    assert done.returncode == code, done.stderr
    assert (done.stdout + done.stderr).startswith(line) or \
        line in done.stderr
    assert line or done.stdout == ""


def test_process_object_from_standard_input(running):
    bundle, name = running  # noqa: F811
    text = json.dumps({"args": ["echo", "read"], "cwd": "/",
                       "env": ["PATH=/bin"]})
    done = subprocess.run(
        [ZRUN, "--root", bundle.root, "exec", "--process", "-", name],
        input=text, text=True, capture_output=True, timeout=DEADLINE)
    assert done.stdout == "read\n", done.stderr


# ----------------------------------------------------------------- mounts

def test_mounts_of_a_running_container(running):
    bundle, name = running  # noqa: F811
    given = bundle.path / "given"
    given.mkdir()
    (given / "file").write_text("from outside\n")
    (bundle.path / "mounts.json").write_text(json.dumps([
        {"destination": "/tmp/bound", "type": "bind", "source": str(given),
         "options": ["bind", "ro"]},
        {"destination": "/tmp/new", "type": "tmpfs", "source": "tmpfs",
         "options": ["size=64k"]}]))
    for path in "bound", "new":
        (bundle.path / "rootfs/tmp" / path).mkdir()
    before = open("/proc/self/mountinfo").read()
    done = bundle.zrun("mounts", "add", name, "mounts.json")
    assert done.returncode == 0, done.stderr
    done = bundle.zrun("exec", name, "sh", "-c", "cat /tmp/bound/file; "
                       "touch /tmp/bound/x 2>/dev/null || echo ro; "
                       "grep -c ' /tmp/[bn][a-z]* ' /proc/self/mountinfo")
    assert done.stdout == "from outside\nro\n2\n"
    assert open("/proc/self/mountinfo").read() == before
    assert bundle.zrun("mounts", "remove", name, "mounts.json").returncode == 0
    done = bundle.zrun("exec", name, "ls", "/tmp/bound")
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("words, text, line", [
    (["add"], '[{"destination": "/a/b", "type": "bind", "source": "/no",'
     ' "options": ["bind"]}]', "mounts[0] (/a/b): source /no: No such file"),
    (["add"], '[{"destination": "/a/b", "type": "nofs"}]',
     "mounts[0] (/a/b)"),
    (["remove"], '[{"destination": "/tmp", "type": "tmpfs"}]', "mounts[0] (/tmp): Invalid"),
    (["add"], "{", "mounts.json: "),
    (["add"], '[{"type": "tmpfs"}]', "mounts.json: "),
    (["other"], "[]", "want add or remove"),
])
def test_mounts_refused(running, words, text, line):
    bundle, name = running  # noqa: F811
    (bundle.path / "mounts.json").write_text(text)
    done = bundle.zrun("mounts", *words, name, "mounts.json")
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1


# -------------------------------------------------------------- bad input

HOSTILE = {
    "too large": '{"ociVersion": "1.0.0", "x": "%s"}' % ("a" * (5 << 20)),
    "too deep": "[" * (1 << 20),
    "deep objects": '{"a":' * 100000,
    "many mounts": '{"ociVersion": "1.0.0", "pids": 1, "mounts": [%s]}' % ",".join(
        ["{}"] * 300000),
    "no text": "\0" * 1000,
    "nothing": "",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(running, text):
    """One line, exit 1 (255 of exec), and nothing is left."""
    bundle, name = running  # noqa: F811
    hostile = bundle.path / "hostile.json"
    hostile.write_text(text)
    before = (open("/proc/self/mountinfo").read(), os.listdir(bundle.root))
    for status, words in [
            (1, ["run", "--config", "hostile.json", "x"]),
            (1, ["create", "--config", "hostile.json", "x"]),
            (255, ["exec", "--process", "hostile.json", name]),
            (1, ["update", "--resources", "hostile.json", name]),
            (1, ["mounts", "add", name, "hostile.json"])]:
        done = bundle.zrun(*words)
        assert done.returncode == status, (words, done.stderr)
        assert done.stderr.count("\n") == 1 and len(done.stderr) < 700, words
        assert "json" in done.stderr or "resources" in done.stderr
    assert before == (open("/proc/self/mountinfo").read(),
                      os.listdir(bundle.root))
    assert bundle.zrun("exec", name, "true").returncode == 0
