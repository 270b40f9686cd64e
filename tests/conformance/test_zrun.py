"""zrun's commands at the OCI level: bundles in, processes and exit codes out.

Needs root, a static busybox and a cgroup v2 tree (with or without
controllers). ZRUN names the program under test; another OCI runtime can be put
there to compare."""

import json
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import time

import pytest

from terminals import read_all

ZRUN = os.environ.get("ZRUN", os.path.join(
    os.path.dirname(__file__), "../../build/x86_64/bin/zrun"))
BUSYBOX = "/bin/busybox"
DEADLINE = 60

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not os.path.exists(BUSYBOX)
    or not os.path.exists(ZRUN), reason="needs root, busybox-static and zrun")


class Bundle:
    """A bundle of busybox, and the containers made from it."""

    def __init__(self, path):
        self.path = path
        self.root = path / "state"
        bin_ = path / "rootfs/bin"
        bin_.mkdir(parents=True)
        for name in ("proc", "sys", "dev", "tmp", "etc"):
            (path / "rootfs" / name).mkdir()
        shutil.copy(BUSYBOX, bin_ / "busybox")
        for name in ("sh cat echo id ls sleep true false env touch hostname "
                     "mount grep wc dd mkdir stat kill readlink pwd tty "
                     "mknod umount ps ionice").split():
            (bin_ / name).symlink_to("busybox")
        subprocess.run([ZRUN, "spec", "--bundle", path], check=True)
        self.config = json.loads((path / "config.json").read_text())
        self.process = self.config["process"]
        self.process["terminal"] = False
        self.ids = []

    def zrun(self, *args, **more):
        (self.path / "config.json").write_text(json.dumps(self.config))
        return subprocess.run(
            [ZRUN, "--root", self.root, *args], cwd=self.path,
            timeout=DEADLINE, text=True, stdin=subprocess.DEVNULL,
            capture_output=True, **more)

    def id(self):
        self.ids.append("test-%d-%d" % (os.getpid(), len(self.ids)))
        return self.ids[-1]

    def run(self, *args, **more):
        """Runs args as the container's program."""
        self.process["args"] = list(args)
        return self.zrun("run", self.id(), **more)

    def sh(self, script, **more):
        return self.run("sh", "-c", script, **more)

    def create(self, *args):
        """A created container; output of its program is not kept, since the
        pipe would stay open as long as it lives."""
        self.process["args"] = list(args)
        (self.path / "config.json").write_text(json.dumps(self.config))
        name = self.id()
        subprocess.run(
            [ZRUN, "--root", self.root, "create", "--pid-file", "pid", name],
            cwd=self.path, check=True, timeout=DEADLINE,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        return name

    def state(self, name):
        return json.loads(self.zrun("state", name).stdout)

    def wait_ended(self, name):
        """The pidfd tells; state then reads the process table."""
        pid = self.state(name)["pid"]
        if pid:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                return
            assert select.select([fd], [], [], DEADLINE)[0], "did not end"
            os.close(fd)

    def give_to(self, first):
        """A user namespace whose root is host id `first`, and the files."""
        maps = [{"containerID": 0, "hostID": first, "size": 1000}]
        self.config["linux"].update(uidMappings=maps, gidMappings=maps)
        self.config["linux"]["namespaces"].append({"type": "user"})
        rootfs = self.path / "rootfs"
        for path in [rootfs, *rootfs.rglob("*")]:
            os.chown(path, first, first, follow_symlinks=False)

    def clean(self):
        for name in self.ids:
            self.zrun("delete", "--force", name)


@pytest.fixture
def bundle(tmp_path):
    made = Bundle(tmp_path)
    yield made
    made.clean()


# ------------------------------------------------------------- life cycle

def test_run_passes_output_and_exit_code_on(bundle):
    done = bundle.sh("echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert bundle.zrun("list", "-q").stdout == ""


def test_run_of_a_killed_program_exits_128_and_signal(bundle):
    # The first process of a pid namespace ignores what it does not handle;
    # SIGKILL from outside is needed.
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    assert bundle.zrun("kill", name, "KILL").returncode == 0
    bundle.wait_ended(name)
    assert bundle.state(name)["status"] == "stopped"


def test_states(bundle):
    name = bundle.create("sleep", "1000")
    state = bundle.state(name)
    assert state["status"] == "created"
    assert state["id"] == name
    assert state["ociVersion"].startswith("1.")
    assert state["bundle"] == str(bundle.path)
    assert (bundle.path / "pid").read_text() == str(state["pid"])
    assert bundle.zrun("start", name).returncode == 0
    assert bundle.state(name)["status"] == "running"
    assert bundle.zrun("pause", name).returncode == 0
    assert bundle.state(name)["status"] == "paused"
    assert bundle.zrun("resume", name).returncode == 0
    assert bundle.state(name)["status"] == "running"
    bundle.zrun("kill", name, "KILL")
    bundle.wait_ended(name)
    assert bundle.state(name)["status"] == "stopped"
    assert bundle.zrun("delete", name).returncode == 0
    assert bundle.zrun("state", name).returncode == 1


@pytest.mark.parametrize("command", ["start", "kill", "delete", "state"])
def test_of_a_container_that_is_not_there(bundle, command):
    done = bundle.zrun(command, "nothing")
    assert done.returncode == 1
    assert done.stderr.strip() == \
        "zrun: container nothing: container does not exist"


def test_delete_force_of_nothing_succeeds(bundle):
    assert bundle.zrun("delete", "--force", "nothing").returncode == 0


@pytest.mark.parametrize("text", [
    "", "{", "{}", "[]", "\0" * 100, '{"id":"../x","pid":1}', "cut"])
@pytest.mark.parametrize("cgroup", [None, "/zrun-damaged/%d" % os.getpid()])
def test_delete_force_where_the_state_is_damaged(bundle, text, cgroup):
    mark = "5%06d" % os.getpid()
    if cgroup:
        bundle.config["linux"]["cgroupsPath"] = cgroup
    name = bundle.create("sleep", mark)
    assert bundle.zrun("start", name).returncode == 0
    path = bundle.root / name / "state.json"
    whole = path.read_text()
    path.write_text(whole[:len(whole) // 2] if text == "cut" else text)
    assert bundle.zrun("list").returncode == 0
    done = bundle.zrun("delete", "--force", name)
    assert done.returncode == 0, done.stderr
    wait_gone(mark)
    assert left_of(bundle) == ([],)


def test_delete_wants_it_stopped(bundle):
    name = bundle.create("sleep", "1000")
    for status in ("created", "running"):
        done = bundle.zrun("delete", name)
        assert done.returncode == 1
        assert "is not stopped: " + status in done.stderr
        bundle.zrun("start", name)
    assert bundle.zrun("delete", "--force", name).returncode == 0
    assert bundle.zrun("state", name).returncode == 1


def test_start_twice(bundle):
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    done = bundle.zrun("start", name)
    assert done.returncode == 1
    assert "cannot start a container that is running" in done.stderr


def test_id_is_unique(bundle):
    name = bundle.create("sleep", "1000")
    done = bundle.zrun("create", name)
    assert done.returncode == 1
    assert "container with that id already exists" in done.stderr
    assert bundle.state(name)["status"] == "created"


@pytest.mark.parametrize("name", ["a/b", "..", "a b", ""])
def test_bad_ids(bundle, name):
    assert bundle.zrun("run", name).returncode == 1


def test_kill_of_a_stopped_container(bundle):
    name = bundle.create("true")
    pid = os.pidfd_open(bundle.state(name)["pid"])
    bundle.zrun("start", name)
    assert select.select([pid], [], [], DEADLINE)[0]
    os.close(pid)
    done = bundle.zrun("kill", name, "TERM")
    assert done.returncode == 1
    assert "container not running" in done.stderr


def test_missing_program_is_told_at_create(bundle):
    done = bundle.run("no-such-program")
    assert done.returncode == 1
    assert "executable file `no-such-program` not found in $PATH" \
        in done.stderr
    assert bundle.zrun("list", "-q").stdout == ""


def test_annotations_are_in_the_state(bundle):
    bundle.config["annotations"] = {"org.example.a": "b"}
    name = bundle.create("sleep", "1")
    assert bundle.state(name)["annotations"] == {"org.example.a": "b"}


# -------------------------------------------------------- refused configs

def left_of(bundle):
    return (os.listdir(bundle.root) if bundle.root.exists() else [],)


@pytest.mark.parametrize("change, line", [
    (lambda c: c.pop("ociVersion"), "ociVersion: missing"),
    (lambda c: c["linux"]["resources"].update(memory={"limit": "1g"}),
     "linux.resources.memory.limit: want an integer"),
    (lambda c: c.update(hooks={"prestart": [{"path": "x"}]}),
     "hooks.prestart[0].path: \"x\" is not an absolute path"),
    (lambda c: c["linux"].update(sysctl={"kernel.panic": "1"}),
     "linux.sysctl.kernel.panic: belongs to no namespace of the container"),
    (lambda c: c["root"].update(path="nowhere"),
     "root.path (nowhere): No such file or directory"),
    (lambda c: c["mounts"].append(
        {"destination": "/m", "type": "bind", "source": "/no/such",
         "options": ["bind"]}), "source /no/such: No such file or directory"),
    (lambda c: c["mounts"].append(
        {"destination": "/m", "type": "nofs", "source": "x"}),
     "file system type nofs: No such device"),
    (lambda c: c["process"].update(cwd="/bin/busybox"),
     "process.cwd (/bin/busybox)"),
    # The processes of the root of the tree are the host's.
    (lambda c: c["linux"].update(cgroupsPath="/."), "linux.cgroupsPath (.)"),
    (lambda c: c["linux"].update(cgroupsPath="a/.."),
     "linux.cgroupsPath (a/..)"),
])
def test_refused_config_leaves_nothing(bundle, change, line):
    change(bundle.config)
    bundle.process["args"] = ["true"]
    done = bundle.zrun("run", bundle.id())
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and line in done.stderr
    assert left_of(bundle) == ([],)


def test_not_json(bundle):
    (bundle.path / "config.json").write_text("{")
    done = subprocess.run([ZRUN, "--root", bundle.root, "run", "x"],
                          cwd=bundle.path, capture_output=True, text=True,
                          timeout=DEADLINE)
    assert done.returncode == 1
    assert "config.json: line 1: " in done.stderr


# --------------------------------------------------------- what is inside

def test_namespaces(bundle):
    ours = {n: os.readlink("/proc/self/ns/" + n)
            for n in ("pid", "net", "ipc", "uts", "mnt", "cgroup")}
    done = bundle.sh("cd /proc/self/ns; for n in pid net ipc uts mnt cgroup; "
                     "do echo $n $(readlink $n); done; hostname")
    *lines, hostname = done.stdout.splitlines()
    theirs = dict(line.split() for line in lines)
    assert all(theirs[n] != ours[n] for n in ours)
    assert hostname == "zrun"


def test_pid_1_and_nothing_of_the_host(bundle):
    assert bundle.sh("echo $$; ls /; ls /.. ").stdout.split()[0] == "1"
    assert "rootfs" not in bundle.sh("ls /..").stdout


def test_joins_a_network_namespace_by_path(bundle):
    name = bundle.create("sleep", "1000")
    path = "/proc/%d/ns/net" % bundle.state(name)["pid"]
    want = os.readlink(path)
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"]
        if n["type"] != "network"] + [{"type": "network", "path": path}]
    assert bundle.sh("readlink /proc/self/ns/net").stdout.strip() == want


def test_joins_a_pid_namespace_by_path(bundle):
    name = bundle.create("sleep", "1000")
    path = "/proc/%d/ns/pid" % bundle.state(name)["pid"]
    want = os.readlink(path)
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"]
        if n["type"] != "pid"] + [{"type": "pid", "path": path}]
    assert bundle.sh("readlink /proc/self/ns/pid").stdout.strip() == want


def test_user_namespace(bundle):
    bundle.give_to(100000)
    done = bundle.sh("id -u; cat /proc/self/uid_map; echo x >/dev/null && "
                     "echo null")
    assert done.stdout.split() == ["0", "0", "100000", "1000", "null"], \
        done.stderr


def test_mount_options(bundle):
    bundle.config["mounts"] += [
        {"destination": "/a/b", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "noexec", "ro", "size=64k", "mode=700"]},
        {"destination": "/host", "type": "bind", "source": "/etc",
         "options": ["rbind", "ro", "nodev"]}]
    lines = bundle.sh("grep -e ' /a/b ' -e ' /host ' /proc/self/mounts")
    a, host = lines.stdout.splitlines()
    assert {"ro", "nosuid", "noexec", "size=64k", "mode=700"} <= \
        set(a.split()[3].split(","))
    assert {"ro", "nodev"} <= set(host.split()[3].split(","))


def test_relative_source_is_of_the_bundle(bundle):
    (bundle.path / "file").write_text("here\n")
    bundle.config["mounts"].append(
        {"destination": "/f", "type": "bind", "source": "file",
         "options": ["bind"]})
    assert bundle.run("cat", "/f").stdout == "here\n"


def test_links_of_the_image_lead_nowhere_outside(bundle, tmp_path):
    """A destination through a link is taken inside the root (CVE-2021-30465
    and its kin)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (bundle.path / "rootfs/link").symlink_to(outside)
    (bundle.path / "rootfs/up").symlink_to("../../../../.." + str(outside))
    for destination in ("/link", "/up", "/link/sub"):
        bundle.config["mounts"].append(
            {"destination": destination, "type": "tmpfs", "source": "t"})
    bundle.config["root"]["readonly"] = False
    done = bundle.sh("touch /link/x; true")
    assert os.listdir(outside) == []
    del done


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_need_a_directory(bundle, name):
    place = bundle.path / "rootfs" / name
    place.rmdir()
    place.symlink_to("tmp")
    done = bundle.run("true")
    assert done.returncode == 1
    assert "must be mounted on a directory" in done.stderr


def test_devices(bundle):
    done = bundle.sh("cd /dev; for d in null zero full random urandom tty; do "
                     "stat -c '%n %F %t:%T %a' $d; done; for l in fd stdin "
                     "stdout stderr ptmx; do readlink $l; done")
    lines = done.stdout.splitlines()
    assert lines[0] == "null character special file 1:3 666"
    assert len(lines) == 11 and all("666" in line for line in lines[:6])


def test_a_device_that_is_not_allowed(bundle):
    for sets in bundle.process["capabilities"].values():
        sets.append("CAP_MKNOD")
    bundle.config["root"]["readonly"] = False
    done = bundle.sh("mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg")
    assert done.returncode != 0
    assert "not permitted" in done.stderr


def test_added_device(bundle):
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/deep/kmsg", "type": "c", "major": 1, "minor": 11,
         "fileMode": 0o600, "uid": 1, "gid": 2},
        {"path": "/dev/fifo", "type": "p"}]
    done = bundle.sh("stat -c '%F %t:%T %a %u:%g' /dev/deep/kmsg; "
                     "stat -c %F /dev/fifo")
    assert done.stdout.splitlines() == [
        "character special file 1:b 600 1:2", "fifo"]


def test_masked_and_readonly_paths(bundle):
    bundle.config["root"]["readonly"] = False
    (bundle.path / "rootfs/secret").mkdir()
    (bundle.path / "rootfs/secret/key").write_text("k")
    (bundle.path / "rootfs/fixed").mkdir()
    bundle.config["linux"]["maskedPaths"] += ["/secret", "/no/such"]
    bundle.config["linux"]["readonlyPaths"] += ["/fixed"]
    done = bundle.sh("ls /secret; cat /proc/timer_list /proc/keys; "
                     "touch /fixed/x 2>&1; touch /tmp/y && echo written; "
                     "echo 1 >/proc/sys/kernel/panic")
    assert "key" not in done.stdout and "written" in done.stdout
    assert done.stdout.count("Read-only file system") == 1
    assert done.returncode != 0


def test_readonly_root(bundle):
    assert bundle.sh("touch /x").returncode == 1
    bundle.config["root"]["readonly"] = False
    assert bundle.sh("touch /x").returncode == 0


# -------------------------------------------------------------- processes

def test_user_groups_umask_and_cwd(bundle):
    bundle.config["root"]["readonly"] = False
    bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7, 8],
                              "umask": 0o77}
    bundle.process["cwd"] = "/made/here"
    done = bundle.sh("id -u; id -g; id -G; pwd; umask")
    assert done.stdout.splitlines() == ["5", "6", "6 7 8", "/made/here",
                                        "0077"]


def test_capabilities(bundle):
    bundle.process["capabilities"] = {
        "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"]}
    bundle.process["user"] = {"uid": 5, "gid": 5}
    done = bundle.sh("grep Cap /proc/self/status")
    values = {line.split(":")[0]: int(line.split()[1], 16)
              for line in done.stdout.splitlines()}
    assert values == {"CapInh": 32, "CapPrm": 32, "CapEff": 32, "CapBnd": 33,
                      "CapAmb": 32}


def test_unknown_capability_is_a_warning(bundle):
    bundle.process["capabilities"]["bounding"].append("CAP_FUTURE")
    done = bundle.run("true")
    assert done.returncode == 0
    assert "CAP_FUTURE" in done.stderr


def test_no_new_privileges_rlimits_oom(bundle):
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]
    bundle.process["oomScoreAdj"] = 77
    done = bundle.sh("grep NoNewPrivs /proc/self/status; ulimit -n; "
                     "ulimit -Hn; cat /proc/self/oom_score_adj")
    assert done.stdout.split() == ["NoNewPrivs:", "1", "50", "60", "77"]


def test_environment(bundle):
    bundle.process["env"] = ["A=1", "PATH=/bin", "B="]
    assert bundle.run("env").stdout.splitlines() == ["A=1", "PATH=/bin", "B=",
                                                     "HOME=/"]


def test_home_by_the_container_s_passwd(bundle):
    (bundle.path / "rootfs/etc/passwd").write_text(
        "odd line\nroot:x:0:0::/root:/bin/sh\nu:x:7:7::/home/u:/bin/sh\n"
        "v:x:8:8:::\n")
    for uid, home in (0, "/root"), (7, "/home/u"), (8, "/"), (9, "/"):
        bundle.process["user"] = {"uid": uid, "gid": 0}
        assert bundle.sh("echo $HOME").stdout == home + "\n"
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    assert bundle.zrun("exec", "-u", "7", name, "sh", "-c",
                       "echo $HOME").stdout == "/home/u\n"
    bundle.process["env"].append("HOME=/own")
    assert bundle.sh("echo $HOME").stdout == "/own\n"


def test_sysctl_of_its_own_namespaces(bundle):
    before = open("/proc/sys/kernel/msgmax").read()
    bundle.config["linux"]["sysctl"] = {
        "kernel.msgmax": "4242", "net.ipv4.ip_forward": "1"}
    done = bundle.run("cat", "/proc/sys/kernel/msgmax",
                      "/proc/sys/net/ipv4/ip_forward")
    assert done.stdout.split() == ["4242", "1"]
    assert open("/proc/sys/kernel/msgmax").read() == before


def test_seccomp(bundle):
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"],
                      "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    bundle.config["root"]["readonly"] = False
    for last in (True, False):
        bundle.process["noNewPrivileges"] = last
        done = bundle.sh("grep Seccomp: /proc/self/status; mkdir /tmp/x")
        assert done.stdout.split() == ["Seccomp:", "2"]
        assert "not supported" in done.stderr


def test_run_from_a_cgroup_that_was_killed_in(bundle):
    """The kernel takes what happened there for a kill of a child that is born
    in another cgroup."""
    tree = re.search(r"^(?:\S+ ){4}(\S+) .* - cgroup2 ",
                     open("/proc/self/mountinfo").read(), re.M)[1]
    cgroup = pathlib.Path(tree, "test-killed-%d" % os.getpid())
    cgroup.mkdir()

    def enter():
        (cgroup / "cgroup.procs").write_text("0")

    try:
        for _ in range(2):
            victim = subprocess.Popen(["sleep", "1000"], preexec_fn=enter)
            (cgroup / "cgroup.kill").write_text("1")
            assert victim.wait() == -9
        done = bundle.run("echo", "lives", preexec_fn=enter)
        assert (done.stdout, done.stderr) == ("lives\n", "")
        name = bundle.create("sleep", "1000")
        bundle.zrun("start", name)
        done = bundle.zrun("exec", name, "echo", "lives", preexec_fn=enter)
        assert (done.stdout, done.stderr) == ("lives\n", "")
    finally:
        cgroup.rmdir()


# ------------------------------------------------------------------- exec

def test_exec(bundle):
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    done = bundle.zrun("exec", "-e", "X=y", "--cwd", "/tmp", "-u", "3:4",
                       name, "sh", "-c",
                       "echo $X $(pwd) $(id -u) $(id -g); exit 5")
    assert (done.stdout, done.returncode) == ("y /tmp 3 4\n", 5)
    inside = bundle.zrun("exec", name, "sh", "-c",
                         "for n in pid net ipc uts mnt cgroup; do "
                         "readlink /proc/self/ns/$n; done").stdout.split()
    pid = bundle.state(name)["pid"]
    assert inside == [os.readlink("/proc/%d/ns/%s" % (pid, n))
                      for n in ("pid", "net", "ipc", "uts", "mnt", "cgroup")]


def test_exec_is_filtered_like_the_container(bundle):
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"],
                      "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    done = bundle.zrun("exec", name, "sh", "-c",
                       "grep Seccomp: /proc/self/status; mkdir /tmp/x")
    assert done.stdout.split() == ["Seccomp:", "2"]
    assert "not supported" in done.stderr


def test_exec_of_a_process_object(bundle):
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    (bundle.path / "process.json").write_text(json.dumps(
        {"args": ["id", "-u"], "cwd": "/", "user": {"uid": 9, "gid": 9},
         "env": ["PATH=/bin"]}))
    done = bundle.zrun("exec", "-p", "process.json", name)
    assert done.stdout == "9\n", done.stderr


def test_exec_failures_exit_255(bundle):
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    assert bundle.zrun("exec", name, "no-such").returncode == 255
    assert bundle.zrun("exec", "nothing", "true").returncode == 255
    bundle.zrun("kill", name, "KILL")
    bundle.wait_ended(name)
    done = bundle.zrun("exec", name, "true")
    assert done.returncode == 255
    assert "cannot exec in a container that is stopped" in done.stderr


# --------------------------------------------------------------- terminals

def console_socket(path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()
    server.settimeout(DEADLINE)
    return server


def test_terminal_by_console_socket(bundle):
    server = console_socket(bundle.path / "console")
    bundle.process.update(terminal=True, args=["sh", "-c", "tty; test -c "
                                               "/dev/console && echo yes"],
                          consoleSize={"width": 90, "height": 30})
    done = bundle.zrun("run", "-d", "--console-socket", "console",
                       bundle.id())
    assert done.returncode == 0, done.stderr
    connection, _ = server.accept()
    _, fds, _, _ = socket.recv_fds(connection, 64, 1)
    assert os.get_terminal_size(fds[0]) == (90, 30)
    text = read_all(fds[0])
    assert "/dev/pts/0" in text and "yes" in text


def test_terminal_needs_a_console_socket(bundle):
    bundle.process.update(terminal=True, args=["true"])
    done = bundle.zrun("create", bundle.id())
    assert done.returncode == 1 and "--console-socket" in done.stderr


# ---------------------------------------------------------------- security

def test_no_descriptor_leaks_in(bundle):
    """CVE-2024-21626: nothing but 0, 1, 2, and no way out through one."""
    read, write = os.pipe()
    os.set_inheritable(read, True)
    done = bundle.sh("ls /proc/self/fd | wc -l", pass_fds=(read,))
    # ls itself opens the directory.
    assert done.stdout.strip() == "4"
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("fd", range(3, 12))
def test_cwd_through_a_leaked_descriptor(bundle, fd):
    bundle.process["cwd"] = "/proc/self/fd/%d" % fd
    assert bundle.run("pwd").returncode == 1


def test_preserved_descriptors(bundle):
    bundle.process["args"] = ["sh", "-c", "echo hello >&3; ls /proc/self/fd"]
    (bundle.path / "config.json").write_text(json.dumps(bundle.config))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 3)
        os.chdir(bundle.path)
        os.execv(ZRUN, [ZRUN, "--root", str(bundle.root), "run",
                        "--preserve-fds", "1", bundle.id()])
    os.close(write)
    assert os.read(read, 100) == b"hello\n"
    assert os.waitpid(pid, 0)[1] == 0
    os.close(read)


# Opens the runtime that runs as its neighbour; lets it end; and writes when
# nobody runs it any more, since what runs cannot be written to.
ATTACK = """
until p=$(grep -l stat[e] /proc/[0-9]*/cmdline 2>/dev/null); do :; done
exec 3<${p%/cmdline}/exe
cat /tmp/log >/dev/null
cat /tmp/go >/dev/null
{ echo bad >/proc/self/fd/3; } 2>/tmp/said
echo "wrote: $?" >/tmp/said
"""


def test_runtime_cannot_be_overwritten(bundle, tmp_path):
    """CVE-2019-5736: the program is a link to /proc/self/exe, so the runtime
    itself runs in the container: here it stays to write its log to a fifo.
    Guard: runtime/zrun/exe_guard.c, exe_guard."""
    mine, inside = tmp_path / "zrun", bundle.path / "rootfs/tmp"
    shutil.copy(ZRUN, mine)
    before = mine.read_bytes()
    for fifo in "log", "go", "said":
        os.mkfifo(inside / fifo)
    for sets in bundle.process["capabilities"].values():
        sets += ["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE"]
    name = bundle.create("sleep", "1000")
    bundle.zrun("start", name)
    subprocess.run(
        [mine, "--root", bundle.root, "exec", "-d", name, "sh", "-c", ATTACK],
        timeout=DEADLINE, check=True)
    victim = subprocess.run(
        [mine, "--root", bundle.root, "exec", name, "/proc/self/exe",
         "--log", "/tmp/log", "state", "none"],
        timeout=DEADLINE, capture_output=True, text=True)
    assert "container none" in victim.stderr
    (inside / "go").write_text("\n")
    said = (inside / "said").read_text()
    assert "/proc/self/fd/3: Read-only file system" in said
    assert mine.read_bytes() == before


def processes_of(mark):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                if mark.encode() in file.read():
                    yield int(pid)
        except OSError:
            pass


def wait_gone(mark):
    end = time.monotonic() + DEADLINE
    for pid in processes_of(mark):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        left = end - time.monotonic()
        assert select.select([fd], [], [], left)[0], "process %d runs on" % pid
        os.close(fd)


# --------------------------------------------------------------- the rest

def test_features_is_honest(bundle):
    features = json.loads(bundle.zrun("features").stdout)
    assert features["hooks"] == ["prestart", "createRuntime",
                                 "createContainer", "startContainer",
                                 "poststart", "poststop"]
    assert set(features["linux"]["namespaces"]) == {
        "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert features["linux"]["intelRdt"] == {
        "enabled": True, "schemata": True, "monitoring": True}
    assert "nonsense" not in features["mountOptions"]
    assert {"ro", "rbind", "rro"} <= set(features["mountOptions"])


def test_log_as_json(bundle):
    log = bundle.path / "log"
    bundle.zrun("--log", log, "--log-format", "json", "start", "nothing")
    entry = json.loads(log.read_text().splitlines()[-1])
    assert entry["level"] == "error"
    assert entry["msg"] == "container nothing: container does not exist"


def test_help_and_usage(bundle):
    assert bundle.zrun("--help").returncode == 0
    for command in ("create", "start", "run", "exec", "state", "list", "kill",
                    "delete", "spec", "features"):
        done = bundle.zrun(command, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith("usage: zrun " + command)
    assert bundle.zrun("no-such-command").returncode == 1
    assert bundle.zrun("--systemd-cgroup", "list").returncode == 1


def test_spec_does_not_overwrite(bundle):
    assert bundle.zrun("spec").returncode == 1
