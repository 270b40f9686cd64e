#!/usr/bin/python3
"""zrun as a command against crun and runc: one bundle, the same namespaces,
the same seccomp profile, starts taken in turns.

    unshare --mount tests/bench/zrun.py FIGURES     prints them as JSON

Figures are taken in a mount namespace of its own: a pure cgroup v2 tree, which
the peers want, and a tmpfs for the state of the containers, as /run is one.

The bundle has the busybox of a node, which is built against musl. A glibc asks
the processor before main() what it can do, which a virtual machine answers by
leaving the guest: 0.5 ms of /bin/true in which no runtime has any part."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/system"))

from row import Row  # noqa: E402
from zooid.build import BUILD, product  # noqa: E402

STARTS = 200
MACHINE = {"x86_64": ("amd64", ["X86_64", "X86", "X32"]),
           "aarch64": ("arm64", ["AARCH64", "ARM"])}[os.uname().machine]
# What engines give a container.
CAPABILITIES = ["CAP_" + name for name in (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID "
    "SETPCAP SETUID SYS_CHROOT").split()]
PROFILE = pathlib.Path("/usr/share/containers/seccomp.json")


def runtimes():
    return {"zrun": product(os.uname().machine, "bin/zrun"),
            "crun": BUILD / "host/pkg/crun/bin/crun",
            "runc": pathlib.Path(shutil.which("runc"))}


def applies(rule):
    """Engines choose among the rules by architecture and capabilities."""
    includes = rule.get("includes") or {}
    excludes = rule.get("excludes") or {}
    arches = includes.get("arches")
    return ((not arches or MACHINE[0] in arches)
            and MACHINE[0] not in excludes.get("arches", [])
            and set(includes.get("caps", [])) <= set(CAPABILITIES)
            and not set(excludes.get("caps", [])) & set(CAPABILITIES))


def seccomp():
    """The default profile of podman, in the form that a runtime gets."""
    profile = json.loads(PROFILE.read_text())
    kept = ("names", "action", "args", "errnoRet")
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_" + name for name in MACHINE[1]],
        "syscalls": [{key: rule[key] for key in kept if rule.get(key)}
                     for rule in profile["syscalls"] if applies(rule)]}


def busybox():
    return product(os.uname().machine, "pkg/busybox/bin/busybox")


class Bundle:
    """A bundle of busybox, made from the configuration that crun proposes,
    and the state directories of the runtimes."""

    def __init__(self, path):
        self.path = path
        self.states = path / "state"
        self.states.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "state", self.states],
                       check=True)
        programs = path / "rootfs/bin"
        programs.mkdir(parents=True)
        for name in ("proc", "sys", "dev"):
            (path / "rootfs" / name).mkdir()
        shutil.copy(busybox(), programs)
        for name in ("true", "sleep", "cat"):
            (programs / name).symlink_to("busybox")
        subprocess.run([runtimes()["crun"], "spec"], cwd=path, check=True)
        self.config = json.loads((path / "config.json").read_text())
        self.config["process"].update(
            terminal=False, capabilities={
                name: CAPABILITIES
                for name in ("bounding", "effective", "permitted")})
        self.config["linux"]["seccomp"] = seccomp()
        self.config["linux"]["namespaces"] = [
            {"type": name}
            for name in "pid network ipc uts cgroup mount".split()]
        self.program("/bin/true")

    def program(self, *args):
        self.config["process"]["args"] = list(args)
        (self.path / "config.json").write_text(json.dumps(self.config))

    def words(self, name, *args):
        """The command line of runtime `name`."""
        return [str(runtimes()[name]), "--root", str(self.states / name),
                *args]

    def call(self, name, *args):
        """Runs it, in the bundle, with no output to wait for."""
        subprocess.run(self.words(name, *args), cwd=self.path, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def running(self, name):
        """A container that runs until the end of the block."""
        self.program("/bin/sleep", "10000")
        self.call(name, "run", "--detach", "bench-" + name)
        try:
            yield "bench-" + name
        finally:
            self.call(name, "delete", "--force", "bench-" + name)

    def starts(self, *args):
        said = subprocess.run(
            [product(os.uname().machine, "bench/starts"), *args],
            cwd=self.path, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(said)

    def in_turns(self, commands):
        """{name: {"wall_us", "cpu_us": {"min", "median"}}} of {name: words}.
        """
        words = []
        for command in commands.values():
            words += ["--", *command]
        return dict(zip(commands,
                        self.starts(str(STARTS), *words[1:])))


# The figures, each a dictionary.

def run(bundle):
    return bundle.in_turns({name: bundle.words(name, "run", name + "-@")
                            for name in runtimes()})


def exec_(bundle):
    with contextlib.ExitStack() as stack:
        inside = {name: stack.enter_context(bundle.running(name))
                  for name in runtimes()}
        return bundle.in_turns({
            name: bundle.words(name, "exec", inside[name], "/bin/true")
            for name in runtimes()})


def burst(bundle):
    """STARTS containers at once, until the last one runs. The best of three:
    the machine has others to serve."""
    found = {}
    bundle.program("/bin/sleep", "10000")
    for round_ in range(3):
        for name in runtimes():
            prefix = "%s-%d-" % (name, round_)
            cost, = bundle.starts("-b", str(STARTS), *bundle.words(
                name, "run", "--detach", prefix + "@"))
            for i in range(STARTS):
                bundle.call(name, "delete", "--force",
                            prefix + str(i + 1))
            best = found.setdefault(name, cost)
            if cost["wall_us"] < best["wall_us"]:
                found[name] = cost
    return found


def peak_kb(bundle, name):
    """The most memory that the process of a runtime ever had, once its
    container runs."""
    process = subprocess.Popen(
        bundle.words(name, "run", "peak-" + name), cwd=bundle.path,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"here\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"here\n"
    status = pathlib.Path("/proc/%d/status" % process.pid).read_text()
    process.stdin.close()
    assert process.wait() == 0
    return int(re.search(r"^VmHWM:\s+(\d+)", status, re.M)[1])


def calls(bundle, name):
    """System calls of the runtime's own processes in one `run`: all but those
    of the program."""
    trace = bundle.path / "trace"
    subprocess.run(["strace", "-f", "-o", trace,
                    *bundle.words(name, "run", "trace-" + name)],
                   cwd=bundle.path, check=True)
    inside, count = set(), 0
    for line in trace.read_text().splitlines():
        pid, call = line.split(maxsplit=1)
        if call.startswith('execve("/bin/true"'):
            inside.add(pid)
            count += 1
        elif pid not in inside and re.match(r"\w+\(", call):
            count += 1
    return count


def footprint(bundle):
    found = {}
    for name in ("zrun", "crun"):
        bundle.program("/bin/cat")
        found[name] = {"rss_kb": peak_kb(bundle, name)}
        bundle.program("/bin/true")
        bundle.call(name, "run", "warm-" + name)
        found[name]["calls"] = calls(bundle, name)
    found["zrun"]["bytes"] = runtimes()["zrun"].stat().st_size
    return found


FIGURES = {"run": run, "exec": exec_, "burst": burst, "footprint": footprint}


def main(name):
    subprocess.run("umount -l /sys/fs/cgroup;"
                   " mount -t cgroup2 none /sys/fs/cgroup", shell=True,
                   check=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        print(json.dumps(FIGURES[name](Bundle(pathlib.Path(directory)))))
        subprocess.run(["umount", directory + "/state"], check=True)


# The rows.

def take(name):
    return json.loads(subprocess.run(
        ["unshare", "--mount", "--propagation", "private", __file__, name],
        check=True, stdout=subprocess.PIPE).stdout)


def compared(what, unit, ours, peers):
    """Rows of one figure; peers is {name: (its figure, the least ratio)}."""
    for peer, (theirs, least) in peers.items():
        yield Row("zrun: " + what, ours, unit, None, theirs / ours, peer,
                  least)


def timed(what, found, crun, runc):
    for kind in ("wall", "cpu"):
        for which in ("min", "median"):
            ms = {name: figure[kind + "_us"][which] / 1000
                  for name, figure in found.items()}
            yield from compared(
                "%s, %s %s" % (what, kind, which), "ms", ms["zrun"],
                {"crun": (ms["crun"], crun), "runc": (ms["runc"], runc)})


def zrun_run():
    found = take("run")
    yield from timed("run", found, 3, 12)
    yield Row("zrun: run, wall min", found["zrun"]["wall_us"]["min"] / 1000,
              "ms", 2)


def zrun_exec():
    yield from timed("exec", take("exec"), 3, 10)


def zrun_burst():
    ms = {name: figure["wall_us"] / 1000
          for name, figure in take("burst").items()}
    yield from compared("%d at once" % STARTS, "ms", ms["zrun"],
                        {"crun": (ms["crun"], 5), "runc": (ms["runc"], 15)})


def zrun_footprint():
    found = take("footprint")
    ours, theirs = found["zrun"], found["crun"]
    yield from compared("peak RSS", "KB", ours["rss_kb"],
                        {"crun": (theirs["rss_kb"], 3)})
    yield Row("zrun: peak RSS", ours["rss_kb"], "KB", 900)
    yield from compared("system calls of a run", "", ours["calls"],
                        {"crun": (theirs["calls"], 3)})
    yield Row("zrun: stripped", ours["bytes"] / 1024, "KB", 400)


GROUPS = [zrun_run, zrun_exec, zrun_burst, zrun_footprint]

if __name__ == "__main__":
    main(sys.argv[1])
