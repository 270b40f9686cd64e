"""mounts, rootfsPropagation: options, recursion, propagation, other ids."""

import json
import os
import subprocess

import pytest

from test_zrun import bundle, pytestmark  # noqa: F401

INFO = "/proc/self/mountinfo"


def run(*args):
    subprocess.run(args, check=True)


@pytest.fixture
def host(tmp_path):
    """A tmpfs on the host that others share, with another in it."""
    top = tmp_path / "host"
    top.mkdir()
    run("mount", "-t", "tmpfs", "host", top)
    run("mount", "--make-shared", top)
    (top / "sub").mkdir()
    run("mount", "-t", "tmpfs", "sub", top / "sub")
    (top / "sub/file").write_text("below\n")
    yield top
    run("umount", "-R", "-l", top)


def mounts(text):
    """{mount point: (its options, optional fields, those of the super)}"""
    found = {}
    for line in text.splitlines():
        left, right = line.split(" - ")
        left = left.split()
        found[left[4]] = (set(left[5].split(",")), left[6:],
                          set(right.split()[2].split(",")))
    return found


def bind(source, *options, destination="/m"):
    return {"destination": destination, "type": "bind", "source": str(source),
            "options": list(options)}


def tmpfs(*options):
    return {"destination": "/m", "type": "tmpfs", "source": "t",
            "options": list(options)}


def seen(bundle, mount):
    bundle.config["mounts"].append(mount)
    done = bundle.run("cat", INFO)
    assert done.returncode == 0, done.stderr
    return mounts(done.stdout)


# ---------------------------------------------------------------- options

@pytest.mark.parametrize("options, want, unwanted", [
    ("nosuid nodev noexec", "nosuid nodev noexec", ""),
    ("nosuid suid nodev dev noexec exec", "", "nosuid nodev noexec"),
    ("ro", "ro", "rw"),
    ("ro rw", "rw", "ro"),
    ("noatime", "noatime", "relatime"),
    ("noatime atime", "relatime", "noatime"),
    ("strictatime", "", "relatime noatime"),
    ("norelatime", "", "relatime noatime"),
    ("nostrictatime", "relatime", ""),
    ("nodiratime", "nodiratime", ""),
    ("nodiratime diratime", "", "nodiratime"),
    ("nosymfollow", "nosymfollow", ""),
    ("nosymfollow symfollow", "", "nosymfollow"),
])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_options_of_a_mount(bundle, kind, options, want, unwanted):
    mount = (tmpfs(*options.split()) if kind == "tmpfs"
             else bind(bundle.path, "bind", *options.split()))
    got = seen(bundle, mount)["/m"][0]
    assert set(want.split()) <= got and not set(unwanted.split()) & got


@pytest.mark.parametrize("option", ["sync", "dirsync", "lazytime"])
def test_options_of_a_file_system(bundle, option):
    assert option in seen(bundle, tmpfs(option))["/m"][2]


def known_words():
    from test_zrun import ZRUN
    features = json.loads(subprocess.run([ZRUN, "features"], check=True,
                                         capture_output=True).stdout)
    return features["mountOptions"]


def test_every_word_is_taken(bundle):
    """By a bind and, where it is not about sources, by a tmpfs."""
    bundle.give_to(100000)
    words = set(known_words())
    assert {"rro", "rrw", "ratime", "tmpcopyup", "idmap", "ridmap", "mand",
            "iversion", "silent", "dest-nofollow"} <= words
    words -= {"remount", "volume-copy"}  # the last writes into its source
    for i, word in enumerate(sorted(words - {"tmpcopyup"})):
        bundle.config["mounts"].append(
            bind(bundle.path, "bind", word, destination="/b%d" % i))
    for i, word in enumerate(sorted(words - {"bind", "rbind", "idmap",
                                             "ridmap"})):
        bundle.config["mounts"].append(
            {**tmpfs(word), "destination": "/t%d" % i})
    done = bundle.run("true")
    assert done.returncode == 0, done.stderr


def test_unknown_word_is_the_file_systems(bundle):
    bundle.config["mounts"].append(tmpfs("nonsense"))
    done = bundle.run("true")
    assert done.returncode == 1
    assert "mounts[7] (/m): " in done.stderr
    assert "nonsense" in done.stderr


@pytest.mark.parametrize("word, want", [
    ("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"),
    ("rnoexec", "noexec"), ("rnoatime", "noatime"),
    ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow")])
def test_recursive_options(bundle, host, word, want):
    got = seen(bundle, bind(host, "rbind", word))
    assert want in got["/m"][0] and want in got["/m/sub"][0]


@pytest.mark.parametrize("word, unwanted", [
    ("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"),
    ("rexec", "noexec"), ("rdiratime", "nodiratime"),
    ("rsymfollow", "nosymfollow"), ("rrelatime", "noatime"),
    ("ratime", "noatime")])
def test_recursive_options_that_clear(bundle, host, word, unwanted):
    for path in host, host / "sub":
        run("mount", "-o", "remount,bind," + unwanted, path)
    got = seen(bundle, bind(host, "rbind", word))
    assert unwanted not in got["/m"][0] | got["/m/sub"][0]


def test_ro_is_not_recursive(bundle, host):
    got = seen(bundle, bind(host, "rbind", "ro"))
    assert "ro" in got["/m"][0] and "rw" in got["/m/sub"][0]


def test_bind_is_not_recursive(bundle, host):
    assert "/m/sub" not in seen(bundle, bind(host, "bind"))


def test_remount(bundle):
    bundle.config["mounts"] += [tmpfs(), {
        "destination": "/m", "options": ["remount", "ro", "noexec"]}]
    done = bundle.run("cat", INFO)
    assert {"ro", "noexec"} <= mounts(done.stdout)["/m"][0], done.stderr


def test_links_followed_or_not(bundle):
    (bundle.path / "file").write_text("file\n")
    (bundle.path / "link").symlink_to("file")
    (bundle.path / "rootfs/old").symlink_to("/nowhere")
    bundle.config["mounts"] += [
        bind("link", "bind", "copy-symlink", destination="/copied"),
        bind("link", "bind", destination="/followed"),
        bind("file", "bind", "dest-nofollow", destination="/old")]
    done = bundle.sh("readlink /copied; cat /followed; cat /old")
    assert done.stdout.splitlines() == ["file", "file", "file"], done.stderr


@pytest.mark.parametrize("links, made", [
    ({"m": "/run/a/b"}, "run/a/b"),
    ({"m": "../../up/./b"}, "up/b"),
    ({"m": "one", "one": "/two/", "two": "three"}, "three")])
@pytest.mark.parametrize("kind", ["file", "directory", "below"])
def test_link_to_what_is_not_there_yet(bundle, links, made, kind):
    """As /etc/resolv.conf of images for systemd: made where it leads to."""
    bundle.config["root"]["readonly"] = False
    if kind == "file" and "one" in links:
        links = {"m": "one", "one": "two", "two": "three"}
    (bundle.path / "source").mkdir()
    (bundle.path / "source/file").write_text("mounted\n")
    for name, target in links.items():
        (bundle.path / "rootfs" / name).symlink_to(target)
    source, destination, file = {
        "file": ("source/file", "/m", ""), "directory": ("source", "/m",
                                                         "/file"),
        "below": ("source", "/m/c/d", "/file")}[kind]
    bundle.config["mounts"].append(
        bind(source, "bind", destination=destination))
    done = bundle.sh("cat %s%s" % (destination, file))
    assert done.stdout == "mounted\n", done.stderr
    assert (bundle.path / "rootfs" / made).exists()


def test_link_that_leads_round(bundle):
    (bundle.path / "rootfs/m").symlink_to("n")
    (bundle.path / "rootfs/n").symlink_to("m/x")
    bundle.config["mounts"].append(tmpfs())
    done = bundle.sh("true")
    assert done.returncode == 1
    assert "Symbolic link loop" in done.stderr


@pytest.mark.parametrize("source, destination, line", [
    ("file", "/tmp", "a file to a directory"),
    (".", "/bin/busybox", "a directory to a file")])
def test_file_and_directory_do_not_match(bundle, source, destination, line):
    (bundle.path / "file").write_text("")
    bundle.config["mounts"].append(
        bind(source, "bind", destination=destination))
    done = bundle.sh("true")
    assert done.returncode == 1
    assert "attach %s: Not a directory" % line in done.stderr


# -------------------------------------------------------------- tmpcopyup

def test_tmpcopyup(bundle):
    under = bundle.path / "rootfs/m"
    (under / "a/b").mkdir(parents=True)
    (under / "a/b/file").write_text("x" * 3000000)
    os.chown(under / "a/b/file", 5, 6)
    os.chmod(under / "a/b/file", 0o4711)
    os.chmod(under / "a", 0o1777)
    os.chmod(under, 0o750)
    os.utime(under / "a/b/file", (1000, 2000))
    os.setxattr(under / "a", "trusted.note", b"kept")
    (under / "link").symlink_to("a/b/file")
    os.mkfifo(under / "fifo", 0o640)
    bundle.config["mounts"].append(tmpfs("tmpcopyup", "ro", "noexec"))
    done = bundle.sh("cd /m; stat -c '%n %a %u:%g %s %F' . a a/b/file fifo; "
                     "stat -c %Y a/b/file; readlink link; touch /m/x")
    assert done.stdout.splitlines() == [
        ". 750 0:0 100 directory", "a 1777 0:0 60 directory",
        "a/b/file 4711 5:6 3000000 regular file", "fifo 640 0:0 0 fifo",
        "2000", "a/b/file"]
    assert "Read-only file system" in done.stderr
    assert sorted(os.listdir(under)) == ["a", "fifo", "link"]


def test_tmpcopyup_keeps_the_image_as_it_is(bundle):
    (bundle.path / "rootfs/m").mkdir()
    (bundle.path / "rootfs/m/file").write_text("old")
    bundle.config["mounts"].append(tmpfs("tmpcopyup"))
    done = bundle.sh("echo new >/m/file; rm /m/none; cat /m/file")
    assert done.stdout == "new\n"
    assert (bundle.path / "rootfs/m/file").read_text() == "old"


def test_tmpcopyup_follows_no_link(bundle, tmp_path):
    (tmp_path / "secret").write_text("of the host")
    under = bundle.path / "rootfs/m"
    under.mkdir()
    (under / "link").symlink_to(tmp_path / "secret")
    (bundle.path / "rootfs/dir").symlink_to(tmp_path)
    bundle.config["mounts"] += [
        tmpfs("tmpcopyup"),
        {**tmpfs("tmpcopyup"), "destination": "/dir"}]
    done = bundle.sh("cat /m/link /dir/secret; ls /dir/")
    assert "of the host" not in done.stdout


def test_tmpcopyup_that_does_not_fit(bundle):
    (bundle.path / "rootfs/m").mkdir()
    (bundle.path / "rootfs/m/file").write_text("x" * 100000)
    bundle.config["mounts"].append(tmpfs("tmpcopyup", "size=8k"))
    done = bundle.run("true")
    assert done.returncode == 1
    assert "mounts[7] (/m): tmpcopyup: No space left on device" in done.stderr


# ------------------------------------------------------------ propagation

def started(bundle):
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    return name


def info(bundle, name):
    return mounts(bundle.zrun("exec", name, "cat", INFO).stdout)


@pytest.mark.parametrize("word, reaches", [
    ("rslave", True), ("slave", True), ("rprivate", False),
    ("private", False), ("unbindable", False), ("rshared", True),
    (None, False)])
def test_what_the_host_mounts_later(bundle, host, word, reaches):
    bundle.config["mounts"].append(bind(host, "rbind", *[word] * bool(word)))
    name = started(bundle)
    (host / "later").mkdir()
    run("mount", "-t", "tmpfs", "later", host / "later")
    assert ("/m/later" in info(bundle, name)) == reaches


@pytest.mark.parametrize("root, reaches", [
    ("rshared", True), ("shared", True), ("rslave", False), (None, False)])
def test_what_the_container_mounts(bundle, host, root, reaches):
    """rshared is shared with the host's only where the root may share."""
    if root:
        bundle.config["linux"]["rootfsPropagation"] = root
    for sets in bundle.process["capabilities"].values():
        sets.append("CAP_SYS_ADMIN")
    bundle.config["mounts"].append(bind(host, "rbind", "rshared"))
    name = started(bundle)
    done = bundle.zrun("exec", name, "sh", "-c",
                       "mkdir /m/new && mount -t tmpfs new /m/new")
    assert done.returncode == 0, done.stderr
    ours = mounts(open(INFO).read())
    assert (str(host / "new") in ours) == reaches
    bundle.zrun("delete", "--force", name)


@pytest.mark.parametrize("word, field", [
    ("private", None), ("rprivate", None), ("shared", "shared:"),
    ("rshared", "shared:"), ("slave", "master:"), ("rslave", "master:"),
    ("unbindable", "unbindable"), ("runbindable", "unbindable"),
    (None, None)])
def test_rootfs_propagation(bundle, tmp_path, word, field):
    if word:
        bundle.config["linux"]["rootfsPropagation"] = word
    # Whether the test's own file system is shared is the host's choice.
    run("mount", "--bind", tmp_path / "rootfs", tmp_path / "rootfs")
    run("mount", "--make-shared", tmp_path / "rootfs")
    before = len(open(INFO).readlines())
    try:
        done = bundle.run("cat", INFO)
        assert len(open(INFO).readlines()) == before
    finally:
        run("umount", "-l", tmp_path / "rootfs")
    assert done.returncode == 0, done.stderr
    fields = mounts(done.stdout)["/"][1]
    if field is None:
        assert fields == []
    else:
        assert any(f.startswith(field) for f in fields)


def test_slave_root_gets_what_the_host_mounts_in_it(bundle, tmp_path):
    bundle.config["linux"]["rootfsPropagation"] = "rslave"
    run("mount", "--bind", tmp_path / "rootfs", tmp_path / "rootfs")
    run("mount", "--make-shared", tmp_path / "rootfs")
    try:
        name = started(bundle)
        run("mount", "-t", "tmpfs", "later", tmp_path / "rootfs/tmp")
        assert "/tmp" in info(bundle, name)
    finally:
        run("umount", "-R", "-l", tmp_path / "rootfs")


# --------------------------------------------------------------- other ids

MAPS = {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 100}],
        "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 100}]}


@pytest.fixture
def owned(bundle):
    (bundle.path / "data").mkdir()
    (bundle.path / "data/file").write_text("")
    os.chown(bundle.path / "data/file", 5, 6)
    return bundle.path / "data/file"


def owner(bundle, path="/m/file"):
    done = bundle.run("stat", "-c", "%u:%g", path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("source", ["data", "absolute"])
@pytest.mark.parametrize("options", [[], ["idmap"], ["ridmap"]])
def test_mount_mappings(bundle, owned, options, source):
    """Without a user namespace of the container; relative sources too."""
    source = str(owned.parent) if source == "absolute" else source
    bundle.config["mounts"].append(
        {**bind(source, "bind", *options), **MAPS})
    assert owner(bundle) == "1005:2006"


def test_files_made_on_an_idmapped_mount(bundle, owned):
    bundle.config["mounts"].append({**bind("data", "bind"), **MAPS})
    bundle.process["user"] = {"uid": 1007, "gid": 2008}
    os.chmod(owned.parent, 0o777)
    assert bundle.run("touch", "/m/new").returncode == 0
    st = (owned.parent / "new").stat()
    assert (st.st_uid, st.st_gid) == (7, 8)


def test_idmap_by_the_containers_user_namespace(bundle, owned):
    bundle.give_to(100000)
    bundle.config["mounts"].append(bind("data", "bind", "idmap"))
    assert owner(bundle) == "5:6"


def test_idmap_of_a_source_only_the_host_may_reach(bundle, owned):
    bundle.give_to(100000)
    os.chmod(owned.parent, 0o700)
    bundle.config["mounts"] += [bind("data", "bind", "idmap"),
                                bind("data/file", "bind", destination="/f")]
    assert owner(bundle) == "5:6"
    assert owner(bundle, "/f") == "65534:65534"


@pytest.mark.parametrize("option, want", [
    ("idmap=uids=0-1000-10;gids=0-2000-10", "1005:2006"),
    ("ridmap=uids=5-77-1#6-88-1;gids=6-99-1", "77:99"),
])
def test_idmap_option_with_maps(bundle, owned, option, want):
    bundle.config["mounts"].append(bind("data", "bind", option))
    assert owner(bundle) == want


def test_idmap_option_relative_to_the_container(bundle, owned):
    bundle.give_to(100000)
    bundle.config["mounts"].append(
        bind("data", "bind", "idmap=uids=@0-100-10;gids=@0-200-10"))
    assert owner(bundle) == "105:206"


def test_idmap_is_of_one_mount_and_ridmap_of_all(bundle, host):
    bundle.config["mounts"] += [
        {**bind(host, "rbind", "idmap"), **MAPS},
        {**bind(host, "rbind", "ridmap", destination="/r"), **MAPS}]
    assert owner(bundle, "/m/sub/file") == "0:0"
    assert owner(bundle, "/r/sub/file") == "1000:2000"


def test_idmapped_tmpfs(bundle):
    bundle.config["mounts"].append({**tmpfs("mode=755"), **MAPS})
    assert owner(bundle, "/m") == "1000:2000"


def test_idmap_needs_maps(bundle, owned):
    bundle.config["mounts"].append(bind("data", "bind", "idmap"))
    done = bundle.run("true")
    assert done.returncode == 1
    assert "mounts[7].options: idmap needs uidMappings and gidMappings, or " \
        "a user namespace" in done.stderr


def test_idmap_that_the_kernel_refuses(bundle):
    bundle.config["mounts"].append(
        {"destination": "/m", "type": "proc", "source": "proc", **MAPS})
    done = bundle.run("true")
    assert done.returncode == 1
    assert "mounts[7] (/m): idmap: Invalid argument" in done.stderr


# ------------------------------------------ what follows a tmpfs of its own

def fresh_dev(bundle):
    """A /dev of which all is made anew."""
    bundle.config["mounts"] = [
        mount for mount in bundle.config["mounts"]
        if not mount["destination"].startswith("/dev")]
    bundle.config["mounts"].append({
        "destination": "/dev", "type": "tmpfs", "source": "first",
        "options": ["nosuid", "mode=755"]})


def test_dev_that_a_link_hides_again(bundle):
    """The devices lie in what is seen at /dev in the end, whatever name it
    was mounted by. Guard: runtime/zrun/child_mount.c, forget_fresh."""
    fresh_dev(bundle)
    (bundle.path / "rootfs/link").symlink_to("dev")
    (bundle.path / "second").mkdir()
    bundle.config["mounts"].append(
        bind(bundle.path / "second", "bind", destination="/link"))
    done = bundle.run("sh", "-c", "ls -d /dev/fd /dev/null")
    assert done.returncode == 0, done.stderr
    assert (bundle.path / "second/null").is_char_device()


def test_relative_source_after_other_mounts(bundle):
    """It starts from the bundle, wherever mounts were made before. Guard:
    runtime/zrun/child_plain.c, has_relative_source."""
    fresh_dev(bundle)
    (bundle.path / "here").mkdir()
    (bundle.path / "here/file").write_text("of the bundle\n")
    bundle.config["mounts"] += [
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid"]},
        bind("here", "bind")]
    done = bundle.run("cat", "/m/file")
    assert done.stdout == "of the bundle\n", done.stderr


def test_options_of_a_mount_inside_a_tmpfs(bundle):
    """What is mounted by one call has all that its options say."""
    fresh_dev(bundle)
    bundle.config["mounts"].append({
        "destination": "/dev/in", "type": "tmpfs", "source": "inner",
        "options": ["nosuid", "nodev", "noexec", "size=128k", "mode=1770"]})
    done = bundle.run("sh", "-c", "stat -c %a /dev/in; cat " + INFO)
    assert done.returncode == 0, done.stderr
    mode, _, info = done.stdout.partition("\n")
    options, _, of_super = mounts(info)["/dev/in"]
    assert mode == "1770"
    assert {"rw", "nosuid", "nodev", "noexec", "relatime"} <= options
    assert {"rw", "size=128k", "mode=1770"} <= of_super


def test_refusal_inside_a_tmpfs_says_why(bundle):
    """The one call says nothing: the kernel's words come all the same."""
    fresh_dev(bundle)
    bundle.config["mounts"].append({
        "destination": "/dev/in", "type": "tmpfs", "source": "inner",
        "options": ["wrong=1"]})
    done = bundle.run("true")
    assert done.returncode == 1
    assert "/dev/in" in done.stderr and "wrong" in done.stderr


def test_two_files_masked(bundle):
    """The second mask is a copy of the first: read-only and empty as well.
    Only looked at: with the guard cut a change would be one of the host's own
    device. Guard: runtime/zrun/child_hide.c, null_tree."""
    bundle.config["linux"]["maskedPaths"] = ["/proc/timer_list",
                                             "/proc/version", "/proc/none"]
    done = bundle.run("sh", "-c",
                      "cat /proc/timer_list /proc/version " + INFO)
    assert done.returncode == 0, done.stderr
    for path in ("/proc/timer_list", "/proc/version"):
        assert "ro" in mounts(done.stdout)[path][0]
