"""Ways out of a container through its processes: the runtime that joins it,
what the runtime leaves open, what it lets run on.

Each test names the guard it is of; with that guard taken out it fails."""

import os
import select
import shutil
import signal
import subprocess
import time

import pytest

from oci import DEADLINE, takes_i386

MKDIR = 83
X32 = 0x40000000
ALL = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETUID",
       "CAP_SETGID", "CAP_SYS_CHROOT", "CAP_NET_RAW", "CAP_MKNOD"]


# ---------------------------------------------------------- the joining process

def test_joining_process_cannot_be_spied_on(bundle):
    """CVE-2016-9962: whoever is in the container traces the process that
    joins it, or takes a descriptor of the host from it, before it is the
    program it will be.
    Guard: runtime/zrun/child.c, child_run (PR_SET_DUMPABLE)."""
    bundle.grant(*ALL)
    bundle.process["noNewPrivileges"] = True
    said = bundle.rootfs / "tmp/said"
    name = bundle.started("sh", "-c",
                          "exec probe spy /tmp/enough >/tmp/said")
    for _ in range(25):
        bundle.call("exec", name, "true")
    (bundle.rootfs / "tmp/enough").write_text("")
    bundle.finish(name)
    words = said.read_text().split("\n")
    assert words[0] == "ready"
    assert [w for w in words if w.startswith("exe") and "zrun" in w] == []
    assert [w for w in words if w.startswith("fd socket:") or
            w.startswith("fd /proc") or str(bundle.state_dir) in w] == []


# --------------------------------------------------------- what is left open

def own_directories(bundle):
    """Descriptors of the host, given to the runtime on purpose."""
    fds = [os.open(p, os.O_RDONLY | os.O_DIRECTORY)
           for p in ("/", "/proc", bundle.path)]
    for fd in fds:
        os.set_inheritable(fd, True)
    return fds


@pytest.mark.parametrize("how", ["run", "exec"])
def test_no_directory_of_the_host_is_left_open(bundle, how):
    """CVE-2024-21626: what the runtime, or who calls it, holds open is there
    for the program: /proc/self/fd/N leads to the host.
    Guards: runtime/zrun/launch_clone.c, close_others, and
    runtime/zrun/child_process.c, child_exec (close_range)."""
    fds = own_directories(bundle)
    script = "for n in %s; do ls -d /proc/self/fd/$n/. ; done 2>/dev/null; " \
        "true" % " ".join(map(str, range(3, max(fds) + 20)))
    if how == "run":
        done = bundle.sh(script, pass_fds=fds)
    else:
        name = bundle.started("sleep", "1000")
        done = bundle.call("exec", name, "sh", "-c", script, pass_fds=fds)
    for fd in fds:
        os.close(fd)
    # ls opens nothing before it has looked.
    assert done.returncode == 0 and done.stdout == ""


@pytest.mark.parametrize("link", [False, True], ids=["path", "link"])
@pytest.mark.parametrize("how", ["run", "exec"])
def test_no_way_to_the_host_by_the_working_directory(bundle, how, link):
    """CVE-2024-21626: cwd is /proc/self/fd/N, or a link of the image there.
    Guards: runtime/zrun/child_process.c, child_cwd (getcwd), and for what
    run makes init/base/path.c, path_open_in_root."""
    fds = own_directories(bundle)
    name = bundle.started("sleep", "1000") if how == "exec" else None
    for n in range(3, max(fds) + 5):
        cwd = "/proc/self/fd/%d" % n
        if link:
            place = bundle.rootfs / ("to%d" % n)
            place.symlink_to(cwd)
            cwd = "/" + place.name
        if how == "run":
            bundle.process["cwd"] = cwd
            done = bundle.run("ls", pass_fds=fds)
        else:
            done = bundle.call("exec", "--cwd", cwd, name, "ls", pass_fds=fds)
        assert done.returncode != 0, (n, done.stdout)
    for fd in fds:
        os.close(fd)


# ------------------------------------------------------------------- signals

KEEPER = """
import os, signal, subprocess, sys
os.setpgid(0, 0)
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL,
                      stdout=subprocess.DEVNULL)
print("alive", flush=True)
"""


@pytest.mark.parametrize("how", ["run", "exec"])
def test_signal_to_its_group_stays_inside(bundle, how):
    """A pid namespace does not end a process group: kill(0) of a container
    would reach whoever started it.
    Guard: runtime/zrun/child_device.c, child_session (setsid)."""
    bundle.grant("CAP_KILL")
    bundle.process["args"] = ["sh", "-c", "kill -KILL 0; sleep 1000"]
    words = ["run", bundle.id()]
    if how == "exec":
        words = ["exec", bundle.started("sleep", "1000"), "sh", "-c",
                 "kill -KILL 0; sleep 1000"]
        bundle.process["args"] = ["true"]
    else:
        # The first process of a pid namespace is deaf to itself: a child.
        bundle.process["args"] = ["sh", "-c", "sh -c 'kill -KILL 0'; true"]
    bundle.write()
    done = bundle.view.run(
        ["/usr/bin/python3", "-c", KEEPER, bundle.runtime, "--root",
         bundle.state_dir, *words], cwd=bundle.path)
    assert done.stdout == "alive\n"


def test_processes_of_the_host_cannot_be_signalled(bundle):
    """Guard: runtime/zrun/launch_clone.c, clone_flags (CLONE_NEWPID)."""
    bystander = subprocess.Popen(["sleep", "1000"])
    bundle.grant("CAP_KILL")
    bundle.sh("kill -TERM %d 2>/dev/null; true" % bystander.pid)
    ended = bystander.poll()
    bystander.kill()
    bystander.wait()
    assert ended is None


def test_controlling_terminal_of_the_host_is_gone(bundle):
    """CVE-2017-5226: TIOCSTI on the terminal of who started the container
    types a command there.
    Guard: runtime/zrun/child_device.c, child_session (setsid)."""
    bundle.process["args"] = [
        "sh", "-c", "exec 3<>/dev/tty && echo reached; true"]
    bundle.write()
    master, slave = os.openpty()
    name = bundle.id()

    def on_the_terminal():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        bundle.view.enter(bundle.path)
    done = subprocess.run(
        [str(bundle.runtime), "--root", str(bundle.state_dir), "run", name],
        preexec_fn=on_the_terminal, stdin=subprocess.DEVNULL, text=True,
        capture_output=True, timeout=DEADLINE)
    os.close(master)
    os.close(slave)
    assert "reached" not in done.stdout


# ------------------------------------------------------------------- seccomp

@pytest.mark.parametrize("arches", [None, ["SCMP_ARCH_X86_64"]],
                         ids=["none named", "native"])
@pytest.mark.parametrize("call", ["int80 39 0 0755",
                                  "call %d /tmp/made 0755" % (X32 + MKDIR)],
                         ids=["i386", "x32"])
def test_other_architectures_do_not_pass_the_filter(bundle, call, arches):
    """A filter that knows the numbers of one architecture only: mkdir is 39
    of i386 and 0x40000053 of x32.
    Guard: runtime/zrun/seccomp_tree.c, tree_code (its last verdict)."""
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"],
                      "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}
    if arches:
        bundle.linux["seccomp"]["architectures"] = arches
    said = bundle.out("probe %s 2>/dev/null; echo ended $?" % call).split()
    # Killed; or the filter's own errno.
    killed = signal.SIGSYS if takes_i386() or not call.startswith("int80") \
        else signal.SIGSEGV
    assert said == ["ended", str(128 + killed)] or said[0] == "-77"


# -------------------------------------------------------------- capabilities

def sets(text):
    return {line.split(":")[0]: int(line.split()[1], 16)
            for line in text.splitlines() if line.startswith("Cap")}


def test_capabilities_of_the_caller_do_not_leak(bundle):
    """The runtime is itself started with inheritable and ambient ones.
    Guard: runtime/zrun/child_process.c, child_capabilities."""
    bundle.process["args"] = ["cat", "/proc/self/status"]
    bundle.process["user"] = {"uid": 5, "gid": 5}
    bundle.write()
    done = bundle.view.run(
        ["setpriv", "--inh-caps", "+chown,+kill", "--ambient-caps",
         "+chown,+kill", bundle.runtime, "--root", bundle.state_dir, "run",
         bundle.id()], cwd=bundle.path)
    assert done.returncode == 0, done.stderr
    assert set(sets(done.stdout).values()) == {0}


def test_granted_to_exec_is_not_inherited(bundle):
    """CVE-2022-24769 and CVE-2022-29162: what exec grants with --cap was
    inheritable, so programs with file capabilities got it too.
    Guard: runtime/zrun/command_exec.c, set_capabilities."""
    name = bundle.started("sleep", "1000")
    done = bundle.call("exec", "--cap", "CAP_KILL", name, "cat",
                       "/proc/self/status")
    assert done.returncode == 0, done.stderr
    got = sets(done.stdout)
    assert got["CapInh"] == got["CapAmb"] == 0 and got["CapEff"] == 1 << 5


def test_exec_has_no_more_than_the_container(bundle):
    """Guard: runtime/zrun/child_process.c, child_user (drop_bounding)."""
    bundle.grant("CAP_KILL")
    name = bundle.started("sleep", "1000")
    done = bundle.call("exec", name, "cat", "/proc/self/status")
    assert {v & ~(1 << 5) for v in sets(done.stdout).values()} == {0}


def test_set_user_id_program_gains_nothing(bundle):
    """Guard: runtime/zrun/plan.c, plan_process (OP_NO_NEW_PRIVILEGES)."""
    os.chown(bundle.rootfs / "bin/busybox", 0, 0)
    shutil.copy(bundle.rootfs / "bin/probe", bundle.rootfs / "bin/rooted")
    (bundle.rootfs / "bin/rooted").chmod(0o4755)
    bundle.grant(*ALL)
    bundle.process["user"] = {"uid": 5, "gid": 5}
    bundle.process["noNewPrivileges"] = True
    assert bundle.out("rooted call 107") == "5\n"  # geteuid


# ------------------------------------------------------ a container left alone

def test_nothing_runs_on_after_the_first_process(bundle):
    """What it left in its cgroup is killed with the container.
    Guard: runtime/zrun/cgroup.c, cgroup_remove (cgroup.kill)."""
    bundle.share("pid")
    name = bundle.started("sh", "-c", "sleep 1000 & echo $!; exit")
    bundle.finish(name)
    pid = int(bundle.written())
    fd = os.pidfd_open(pid)
    assert bundle.call("delete", name).returncode == 0
    ended = bool(select.select([fd], [], [], 5)[0])
    os.close(fd)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    assert ended


# ------------------------------------------------------------------ terminals

SWAPPED = """
set -e
mount -t devpts -o newinstance,ptmxmode=0666 none /tmp
umount /dev/pts
mount -t tmpfs tmpfs /dev/pts
ln -s /volume/victim /dev/pts/0
touch /dev/pts/ptmx
mount --bind /tmp/ptmx /dev/pts/ptmx
echo ready
exec sleep 1000
"""


def test_terminal_is_not_taken_by_its_name(bundle):
    """The container's root made /dev/pts/ptmx one of another devpts, whose
    number 0 is a link at /dev/pts/0: exec --tty would give that file to the
    user, and to the program as its terminal.
    Guard: runtime/zrun/child_device.c, open_terminal (TIOCGPTPEER)."""
    volume = bundle.path / "volume"
    volume.mkdir()
    (volume / "victim").write_text("")
    bundle.bind(volume, "/volume")
    bundle.grant("CAP_SYS_ADMIN")
    name = bundle.started("sh", "-c", SWAPPED)
    end = time.monotonic() + DEADLINE
    while bundle.written() != "ready\n" and time.monotonic() < end:
        os.sched_yield()
    server = bundle.console()
    exec_ = bundle.view.popen(
        [bundle.runtime, "--root", bundle.state_dir, "exec", "--tty", "-d",
         "--user", "1000:1000", "--console-socket", "console", name, "sh",
         "-c", "echo here"], cwd=bundle.path, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    exec_.wait(DEADLINE)
    server.close()
    status = (volume / "victim").stat()
    assert bundle.written() == "ready\n"
    assert (status.st_uid, status.st_size) == (0, 0)


# ----------------------------------------------------------------------- keys

KEYS = """
import ctypes, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
assert call(250, 1, None) > 0  # keyctl, join a new session keyring
assert call(248, b"user", b"secret", b"text", 4, -3) > 0  # add_key
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("how", ["run", "exec"])
def test_keys_of_the_caller_stay_outside(bundle, how):
    """A session keyring goes along through fork and execve, and its owner's
    keys with it.
    Guard: runtime/zrun/child.c, new_keyring."""
    search = ["probe", "call", "250", "10", "-3", "user", "secret", "0"]
    words = ["run", bundle.id()]
    if how == "exec":
        words = ["exec", bundle.started("sleep", "1000"), *search]
    bundle.process["args"] = search
    bundle.write()
    done = bundle.view.run(
        ["/usr/bin/python3", "-c", KEYS, bundle.runtime, "--root",
         bundle.state_dir, *words], cwd=bundle.path)
    assert done.stdout == "-126\n", done.stderr  # ENOKEY
