"""OCI runtime specification: config.md, but for hooks."""

import os
import resource
import shutil
import socket

import pytest

from oci import refused, spec
from terminals import read_all, terminal_of


def options_at(bundle, path):
    """The mount's own options, those of the file system, and the tags."""
    for line in bundle.out("cat /proc/self/mountinfo").splitlines():
        words = line.split()
        if words[4] == path:
            dash = words.index("-")
            return (set(words[5].split(",")),
                    set(words[dash + 3].split(",")), words[6:dash])
    raise AssertionError("nothing is mounted at " + path)


# ---------------------------------------------------------------- ociVersion

@spec("config.md: specification version")
@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.2.0", "1.2.1"])
def test_versions_1_are_taken(bundle, version):
    bundle.config["ociVersion"] = version
    assert bundle.run("true").returncode == 0


@spec("config.md: specification version")
def test_version_is_required(bundle):
    del bundle.config["ociVersion"]
    refused(bundle)


@spec("config.md: specification version")
@pytest.mark.parametrize("version", ["banana", "", 1])
def test_what_is_no_version(bundle, version):
    bundle.config["ociVersion"] = version
    refused(bundle)


# ---------------------------------------------------------------------- root

@spec("config.md: root")
@pytest.mark.parametrize("absolute", [False, True])
def test_root_path(bundle, absolute):
    (bundle.rootfs / "here").write_text("yes\n")
    if absolute:
        bundle.config["root"]["path"] = str(bundle.rootfs)
    assert bundle.run("cat", "/here").stdout == "yes\n"


@spec("config.md: root")
def test_root_is_a_directory(bundle):
    for wrong in ("no-such", "config.json"):
        bundle.config["root"]["path"] = wrong
        refused(bundle)


@spec("config.md: root, readonly")
@pytest.mark.parametrize("readonly", [True, False, None])
def test_root_readonly(bundle, readonly):
    if readonly is not None:
        bundle.config["root"]["readonly"] = readonly
    done = bundle.sh("touch /x")
    assert ("Read-only file system" in done.stderr) == bool(readonly)
    assert (bundle.rootfs / "x").exists() != bool(readonly)


# -------------------------------------------------------------------- mounts

@spec("config.md: mounts")
def test_mounts_in_the_listed_order(bundle):
    for n in "12":
        (bundle.path / n).mkdir()
        (bundle.path / n / "name").write_text(n)
        bundle.bind(bundle.path / n, "/tmp")
    bundle.mount("/tmp/below", "tmpfs", "tmpfs")
    assert bundle.out("cat /tmp/name; grep -c ' /tmp/below ' "
                      "/proc/self/mountinfo") == "21\n"


@spec("config.md: mounts, destination")
def test_relative_destination_is_taken_from_the_root(bundle):
    bundle.mount("tmp/made", "tmpfs", "tmpfs")
    options_at(bundle, "/tmp/made")


@spec("config.md: mounts, destination")
def test_destination_is_required(bundle):
    bundle.config["mounts"].append({"type": "tmpfs", "source": "tmpfs"})
    refused(bundle)


@spec("config.md: mounts, source")
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_relative_source_is_of_the_bundle(bundle, kind):
    source = bundle.path / "source"
    if kind == "directory":
        source.mkdir()
        (source / "name").write_text("here")
        bundle.bind("source", "/tmp/at")
        assert bundle.out("cat /tmp/at/name") == "here"
    else:
        source.write_text("here")
        bundle.bind("source", "/tmp/at")
        assert bundle.out("cat /tmp/at") == "here"


@spec("config.md: mounts, source")
def test_source_that_is_not_there(bundle):
    bundle.bind("no-such", "/tmp/at")
    refused(bundle)


@spec("config.md: mounts, type")
def test_type_of_a_bind_mount_is_a_dummy(bundle):
    bundle.mount("/tmp/at", "no-such-type", str(bundle.path), "bind")
    assert "config.json" in bundle.out("ls /tmp/at")


@spec("config.md: mounts, type")
@pytest.mark.parametrize("type_, place, sign", [
    ("proc", "/proc", "self"), ("sysfs", "/sys", "kernel"),
    ("tmpfs", "/tmp", None), ("mqueue", "/dev/mqueue", None),
    ("cgroup", "/tmp/at", "cgroup.procs")])
def test_file_system_types(bundle, type_, place, sign):
    bundle.mount(place, type_, type_, "nosuid", "noexec", "nodev")
    listed = bundle.out("ls " + place).split()
    assert sign is None or sign in listed


# words, what the mount must show, what it must not
OPTIONS = [
    (["defaults"], {"rw"}, {"ro"}),
    (["ro"], {"ro"}, {"rw"}),
    (["rw"], {"rw"}, {"ro"}),
    (["ro", "rw"], {"rw"}, {"ro"}),
    (["nosuid"], {"nosuid"}, set()),
    (["nosuid", "suid"], set(), {"nosuid"}),
    (["nodev"], {"nodev"}, set()),
    (["nodev", "dev"], set(), {"nodev"}),
    (["noexec"], {"noexec"}, set()),
    (["noexec", "exec"], set(), {"noexec"}),
    (["noatime"], {"noatime"}, {"relatime"}),
    (["noatime", "atime"], {"relatime"}, {"noatime"}),
    (["relatime"], {"relatime"}, {"noatime"}),
    (["strictatime"], set(), {"relatime", "noatime"}),
    (["nodiratime"], {"nodiratime"}, set()),
    (["nodiratime", "diratime"], set(), {"nodiratime"}),
    (["nosymfollow"], {"nosymfollow"}, set()),
    (["nosymfollow", "symfollow"], set(), {"nosymfollow"}),
    (["silent"], {"rw"}, set()),
    (["loud"], {"rw"}, set()),
    (["norelatime"], set(), {"noatime"}),
    (["nostrictatime"], set(), {"noatime"}),
]


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("how", ["tmpfs", "bind"])
@pytest.mark.parametrize("words, want, unwanted", OPTIONS,
                         ids=["+".join(o[0]) for o in OPTIONS])
def test_mount_option(bundle, how, words, want, unwanted):
    if how == "tmpfs":
        bundle.mount("/tmp/at", "tmpfs", "tmpfs", *words)
    else:
        bundle.bind(bundle.path, "/tmp/at", "bind", *words)
    shown, _, _ = options_at(bundle, "/tmp/at")
    assert want <= shown and not shown & unwanted


SUPER = [(["sync"], "sync", True), (["sync", "async"], "sync", False),
         (["dirsync"], "dirsync", True), (["lazytime"], "lazytime", True),
         (["lazytime", "nolazytime"], "lazytime", False)]


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("words, word, there", SUPER,
                         ids=["+".join(s[0]) for s in SUPER])
def test_mount_option_of_the_file_system(bundle, words, word, there):
    bundle.mount("/tmp/at", "tmpfs", "tmpfs", *words)
    assert (word in options_at(bundle, "/tmp/at")[1]) == there


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("word", ["mand", "nomand", "iversion", "noiversion"])
def test_mount_option_without_effect_here(bundle, word):
    bundle.mount("/tmp/at", "tmpfs", "tmpfs", word)
    options_at(bundle, "/tmp/at")


@spec("config.md: mounts, options")
def test_options_of_the_file_system_itself(bundle):
    bundle.mount("/tmp/at", "tmpfs", "tmpfs", "size=64k", "mode=700")
    assert {"size=64k", "mode=700"} <= options_at(bundle, "/tmp/at")[1]


def tree(bundle):
    """A directory with a file system below it, both with a file."""
    top = bundle.path / "tree"
    (top / "below").mkdir(parents=True)
    done = bundle.view.run(["mount", "-t", "tmpfs", "tmpfs", top / "below"])
    assert done.returncode == 0, done.stderr
    done = bundle.view.run(["touch", top / "below/deep"])
    return top


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("word, deep", [("bind", False), ("rbind", True)])
def test_bind_and_rbind(bundle, word, deep):
    bundle.bind(tree(bundle), "/tmp/at", word)
    assert (bundle.sh("cat /tmp/at/below/deep").returncode == 0) == deep


RECURSIVE = [("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"),
             ("rnoexec", "noexec"), ("rnoatime", "noatime"),
             ("rnodiratime", "nodiratime"), ("rrelatime", "relatime"),
             ("rnosymfollow", "nosymfollow")]


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("word, shown", RECURSIVE)
def test_recursive_option(bundle, word, shown):
    bundle.bind(tree(bundle), "/tmp/at", "rbind", word)
    for path in ("/tmp/at", "/tmp/at/below"):
        assert shown in options_at(bundle, path)[0]


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("set_, clear, shown", [
    ("rro", "rrw", "ro"), ("rnosuid", "rsuid", "nosuid"),
    ("rnodev", "rdev", "nodev"), ("rnoexec", "rexec", "noexec"),
    ("rnodiratime", "rdiratime", "nodiratime")])
def test_recursive_option_cleared(bundle, set_, clear, shown):
    bundle.bind(tree(bundle), "/tmp/at", "rbind", set_, clear)
    for path in ("/tmp/at", "/tmp/at/below"):
        assert shown not in options_at(bundle, path)[0]


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("word, tag, deep", [
    ("private", None, None), ("rprivate", None, None),
    ("shared", "shared:", None), ("rshared", "shared:", "shared:"),
    ("unbindable", "unbindable", None),
    ("runbindable", "unbindable", "unbindable")])
def test_propagation_of_a_mount(bundle, word, tag, deep):
    bundle.bind(tree(bundle), "/tmp/at", "rbind", word)
    for path, want in (("/tmp/at", tag), ("/tmp/at/below", deep)):
        tags = options_at(bundle, path)[2]
        if want:
            assert any(t.startswith(want) for t in tags), tags
        elif path == "/tmp/at":
            assert tags == []


@spec("config.md: Linux mount options")
@pytest.mark.parametrize("word", ["slave", "rslave"])
def test_slave_mount_sees_what_the_host_mounts(bundle, word):
    top = bundle.path / "shared"
    top.mkdir()
    for argv in (["mount", "-t", "tmpfs", "tmpfs", top],
                 ["mount", "--make-shared", top], ["mkdir", top / "late"]):
        assert bundle.view.run(argv).returncode == 0
    bundle.bind(top, "/tmp/at", "rbind", word)
    name = bundle.started("sleep", "1000")
    assert bundle.view.run(["mount", "-t", "tmpfs", "tmpfs",
                            top / "late"]).returncode == 0
    with open("/proc/%d/mounts" % bundle.state(name)["pid"]) as mounts:
        assert " /tmp/at/late " in mounts.read()


@spec("config.md: Linux mount options")
def test_remount(bundle):
    bundle.mount("/tmp/at", "tmpfs", "tmpfs")
    bundle.mount("/tmp/at", "tmpfs", "tmpfs", "remount", "ro")
    assert "ro" in options_at(bundle, "/tmp/at")[0] | \
        options_at(bundle, "/tmp/at")[1]


@spec("config.md: Linux mount options")
def test_tmpcopyup(bundle):
    (bundle.rootfs / "etc/name").write_text("kept")
    (bundle.rootfs / "etc/deep").mkdir()
    (bundle.rootfs / "etc/deep/more").write_text("too")
    bundle.mount("/etc", "tmpfs", "tmpfs", "tmpcopyup")
    assert bundle.out("cat /etc/name /etc/deep/more; echo x >/etc/new") == \
        "kepttoo"
    assert not (bundle.rootfs / "etc/new").exists()


@spec("config.md: mounts, uidMappings")
@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_idmapped_mount(bundle, word):
    source = bundle.path / "source"
    source.mkdir()
    os.chown(source, 100005, 100006)
    maps = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    bundle.user_namespace()
    bundle.bind(source, "/tmp/at", "bind", word)
    maps = [{"containerID": 100000, "hostID": 100010, "size": 1000}]
    bundle.config["mounts"][-1].update(uidMappings=maps, gidMappings=maps)
    assert bundle.out("stat -c %u:%g /tmp/at") == "15:16\n"


@spec("config.md: mounts, options")
def test_option_that_is_no_word(bundle):
    bundle.mount("/tmp/at", "tmpfs", "tmpfs", "no-such-option")
    refused(bundle)


# ------------------------------------------------------------------- process

@spec("config.md: process, terminal")
def test_terminal(bundle):
    bundle.process["terminal"] = True
    with terminal_of(bundle, "sh", "-c", "tty <&0; test -t 0 -a -t 1 -a -t 2 "
                     "&& echo all") as master:
        assert read_all(master).split() == ["/dev/pts/0", "all"]


@spec("config.md: process, consoleSize")
def test_console_size(bundle):
    bundle.process.update(terminal=True,
                          consoleSize={"height": 30, "width": 91})
    with terminal_of(bundle, "true") as master:
        assert os.get_terminal_size(master) == (91, 30)


@spec("config.md: process, consoleSize")
def test_console_size_without_a_terminal_is_ignored(bundle):
    bundle.process["consoleSize"] = {"height": 30, "width": 91}
    assert bundle.run("true").returncode == 0


@spec("config.md: process, terminal")
def test_no_terminal_by_default(bundle):
    assert bundle.sh("test -t 0").returncode != 0


@spec("config.md: process, cwd")
def test_cwd(bundle):
    bundle.process["cwd"] = "/etc"
    assert bundle.run("pwd").stdout == "/etc\n"


@spec("config.md: process, cwd")
@pytest.mark.parametrize("cwd", ["etc", "", "./etc"])
def test_cwd_is_absolute(bundle, cwd):
    bundle.process["cwd"] = cwd
    refused(bundle)


@spec("config.md: process, cwd")
def test_cwd_is_required(bundle):
    del bundle.process["cwd"]
    refused(bundle)


@spec("config.md: process, env")
def test_environment(bundle):
    bundle.process["env"] = ["PATH=/bin", "A=1", "B=", "C=x=y z"]
    said = bundle.run("env").stdout.splitlines()
    # HOME is what some runtimes add where it is missing.
    assert [s for s in said if not s.startswith("HOME=")] == \
        ["PATH=/bin", "A=1", "B=", "C=x=y z"]


@spec("config.md: process, args")
def test_args(bundle):
    done = bundle.run("/bin/sh", "-c", 'echo "$#:$1:$2:$3"', "0", "a b", "",
                      "*")
    assert done.stdout == "3:a b::*\n"


@spec("config.md: process, args")
def test_program_is_looked_up_in_its_own_path(bundle):
    (bundle.rootfs / "opt").mkdir()
    shutil.copy(bundle.rootfs / "bin/busybox", bundle.rootfs / "opt/found")
    (bundle.rootfs / "opt/found").unlink()
    (bundle.rootfs / "opt/found").write_text("#!/bin/sh\necho found\n")
    (bundle.rootfs / "opt/found").chmod(0o755)
    bundle.process["env"] = ["PATH=/nowhere:/opt:/bin"]
    assert bundle.run("found").stdout == "found\n"


@spec("config.md: process, args")
@pytest.mark.parametrize("args", [None, []])
def test_args_are_required(bundle, args):
    del bundle.process["args"]
    if args is not None:
        bundle.process["args"] = args
    bundle.write()
    name = bundle.id()
    assert bundle.call("create", name).returncode != 0


@spec("config.md: process, args")
@pytest.mark.parametrize("program", ["/bin/no-such", "no-such", "/etc"])
def test_program_that_is_not_there(bundle, program):
    assert bundle.run(program).returncode != 0


RLIMITS = {"AS": 9, "CORE": 4, "CPU": 0, "DATA": 2, "FSIZE": 1, "LOCKS": 10,
           "MEMLOCK": 8, "MSGQUEUE": 12, "NICE": 13, "NOFILE": 7, "NPROC": 6,
           "RSS": 5, "RTPRIO": 14, "RTTIME": 15, "SIGPENDING": 11, "STACK": 3}


@spec("config.md: process, rlimits")
@pytest.mark.parametrize("name", RLIMITS)
def test_rlimit(bundle, name):
    number = RLIMITS[name]
    _, hard = resource.getrlimit(number)
    hard = hard if hard != resource.RLIM_INFINITY else 1 << 33
    soft = hard // 2
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_" + name, "soft": soft, "hard": hard}]
    assert bundle.run("probe", "limit", str(number)).stdout == \
        "%d %d\n" % (soft, hard)


@spec("config.md: process, rlimits")
@pytest.mark.parametrize("limits", [
    [{"type": "RLIMIT_FUTURE", "soft": 1, "hard": 1}],
    [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2,
    [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}],
    [{"soft": 1, "hard": 1}],
], ids=["unknown", "twice", "soft above hard", "without type"])
def test_rlimit_that_is_wrong(bundle, limits):
    bundle.process["rlimits"] = limits
    refused(bundle)


def bits(*numbers):
    return sum(1 << n for n in numbers)


def capabilities(bundle):
    return {line.split(":")[0]: int(line.split()[1], 16) for line in
            bundle.out("grep Cap /proc/self/status").splitlines()}


@spec("config.md: Linux process, capabilities")
def test_five_sets_of_capabilities(bundle):
    bundle.process["capabilities"] = {
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    bundle.process["user"] = {"uid": 5, "gid": 5}
    # execve of another user than root leaves what is ambient.
    assert capabilities(bundle) == {
        "CapBnd": bits(0, 3, 5), "CapPrm": bits(5), "CapEff": bits(5),
        "CapInh": bits(5), "CapAmb": bits(5)}


@spec("config.md: Linux process, capabilities")
def test_no_capabilities(bundle):
    assert set(capabilities(bundle).values()) == {0}


@spec("config.md: Linux process, capabilities")
def test_unknown_capability_is_a_warning(bundle):
    bundle.process["capabilities"]["bounding"] = ["CAP_FUTURE", "CAP_KILL"]
    done = bundle.sh("grep CapBnd /proc/self/status")
    assert done.returncode == 0
    assert int(done.stdout.split()[1], 16) == bits(5)
    assert "CAP_FUTURE" in done.stderr


@spec("config.md: Linux process, capabilities")
def test_capability_that_cannot_be_granted_is_a_warning(bundle):
    """CAP_BPF is first taken from the runtime's own bounding set."""
    bundle.grant("CAP_BPF", "CAP_KILL")
    bundle.process["args"] = ["grep", "CapBnd", "/proc/self/status"]
    bundle.write()
    done = bundle.view.run(
        ["setpriv", "--bounding-set", "-bpf", bundle.runtime, "--root",
         bundle.state_dir, "run", bundle.id()], cwd=bundle.path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1], 16) == bits(5)
    assert "CAP_BPF" in done.stderr


@spec("config.md: Linux process, noNewPrivileges")
@pytest.mark.parametrize("value", [True, False, None])
def test_no_new_privileges(bundle, value):
    if value is not None:
        bundle.process["noNewPrivileges"] = value
    assert bundle.out("grep NoNewPrivs /proc/self/status").split()[1] == \
        str(int(bool(value)))


@spec("config.md: Linux process, oomScoreAdj")
@pytest.mark.parametrize("value", [0, 77, 1000])
def test_oom_score(bundle, value):
    bundle.process["oomScoreAdj"] = value
    assert bundle.out("cat /proc/self/oom_score_adj") == "%d\n" % value


@spec("config.md: Linux process, oomScoreAdj")
def test_oom_score_is_left_alone(bundle):
    bundle.process["args"] = ["cat", "/proc/self/oom_score_adj"]
    bundle.write()
    done = bundle.view.run(
        ["sh", "-c", 'echo 123 >/proc/self/oom_score_adj; exec "$@"', "sh",
         bundle.runtime, "--root", bundle.state_dir, "run", bundle.id()],
        cwd=bundle.path)
    assert done.stdout == "123\n", done.stderr


SCHEDULERS = [
    ({"policy": "SCHED_OTHER", "nice": 7}, "policy=0 flags=0 nice=7 "),
    ({"policy": "SCHED_BATCH", "nice": 3}, "policy=3 flags=0 nice=3 "),
    ({"policy": "SCHED_IDLE"}, "policy=5 flags=0 "),
    ({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
     "policy=3 flags=1 "),
]


@spec("config.md: Linux process, scheduler")
@pytest.mark.parametrize("value, want", SCHEDULERS,
                         ids=[s[0]["policy"] + str(len(s[0]))
                              for s in SCHEDULERS])
def test_scheduler(bundle, value, want):
    bundle.process["scheduler"] = value
    assert want in bundle.out("probe scheduler")


@spec("config.md: Linux process, scheduler")
@pytest.mark.parametrize("value", [{"policy": "SCHED_NONE"}, {"nice": 1}])
def test_scheduler_that_is_wrong(bundle, value):
    bundle.process["scheduler"] = value
    refused(bundle)


@spec("config.md: Linux process, ioPriority")
@pytest.mark.parametrize("name, level, want", [
    ("IOPRIO_CLASS_BE", 6, "2 6"), ("IOPRIO_CLASS_BE", 0, "2 0"),
    ("IOPRIO_CLASS_IDLE", 0, "3 0")])
def test_io_priority(bundle, name, level, want):
    bundle.process["ioPriority"] = {"class": name, "priority": level}
    assert bundle.out("probe ioprio") == want + "\n"


@spec("config.md: Linux process, ioPriority")
@pytest.mark.parametrize("value", [
    {"class": "IOPRIO_CLASS_XX", "priority": 1}])
def test_io_priority_that_is_wrong(bundle, value):
    bundle.process["ioPriority"] = value
    refused(bundle)


@spec("config.md: Linux process, execCPUAffinity")
def test_exec_cpu_affinity(bundle):
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    name = bundle.started("sleep", "1000")
    done = bundle.call("exec", name, "grep", "Cpus_allowed_list",
                       "/proc/self/status")
    assert done.stdout.split()[1] == "0", done.stderr


@spec("config.md: process, user")
def test_user(bundle):
    bundle.process["user"] = {"uid": 5, "gid": 6, "umask": 0o27,
                              "additionalGids": [7, 8]}
    assert bundle.out("id -u; id -g; id -G; umask").split("\n") == \
        ["5", "6", "6 7 8", "0027", ""]


@spec("config.md: hostname")
def test_hostname(bundle):
    bundle.config["hostname"] = "a-name"
    assert bundle.run("hostname").stdout == "a-name\n"
    assert socket.gethostname() != "a-name"


@spec("config.md: domainname")
def test_domainname(bundle):
    bundle.config["domainname"] = "a.domain"
    assert bundle.out("cat /proc/sys/kernel/domainname") == "a.domain\n"


# --------------------------------------------- annotations, what is not known

@spec("config.md: annotations")
def test_unknown_annotation(bundle):
    bundle.config["annotations"] = {"org.example.unknown": "x" * 1000}
    assert bundle.run("true").returncode == 0


@spec("config.md: extensibility")
def test_unknown_numbers(bundle):
    bundle.config["com.example"] = {"a": 1.5e3, "b": [-0.25, 1 << 70, 7]}
    assert bundle.run("true").returncode == 0


@spec("config.md: annotations")
@pytest.mark.parametrize("value", [1, None, ["a"], {"a": "b"}])
def test_annotations_are_texts(bundle, value):
    bundle.config["annotations"] = {"a": value}
    refused(bundle)


@spec("config.md: annotations")
def test_annotations_have_names(bundle):
    bundle.config["annotations"] = {"": "a"}
    refused(bundle)


@spec("config.md: extensibility")
@pytest.mark.parametrize("where", ["top", "process", "linux", "root",
                                   "resources", "user", "mount"])
def test_unknown_property_is_ignored(bundle, where):
    bundle.linux["resources"] = {}
    at = {"top": bundle.config, "process": bundle.process,
          "linux": bundle.linux, "root": bundle.config["root"],
          "resources": bundle.linux["resources"],
          "user": bundle.process["user"],
          "mount": bundle.config["mounts"][0]}[where]
    at["noSuchProperty"] = {"deep": [1, None]}
    assert bundle.run("true").returncode == 0


@spec("config.md: valid values")
@pytest.mark.parametrize("change", [
    lambda c: c.update(process=[]), lambda c: c.update(root="rootfs"),
    lambda c: c.update(mounts={}), lambda c: c.update(hostname=5),
    lambda c: c["process"].update(args="true"),
    lambda c: c["process"].update(env={"A": "1"}),
    lambda c: c["process"]["user"].update(uid="root"),
    lambda c: c["process"]["user"].update(uid=-1),
    lambda c: c["root"].update(readonly="yes"),
    lambda c: c["linux"].update(namespaces={"type": "pid"}),
    lambda c: c["linux"].update(maskedPaths="/proc"),
    lambda c: c.update(linux=[]),
], ids=["process", "root", "mounts", "hostname", "args", "env", "uid",
        "uid below 0", "readonly", "namespaces", "maskedPaths", "linux"])
def test_value_of_a_wrong_type(bundle, change):
    change(bundle.config)
    bundle.write()
    name = bundle.id()
    assert bundle.call("create", name).returncode != 0
    assert not bundle.exists(name)


@spec("config.md: process, commandLine")
def test_command_line_of_windows_is_ignored(bundle):
    bundle.process["commandLine"] = "cmd /c false"
    assert bundle.run("echo", "args").stdout == "args\n"
