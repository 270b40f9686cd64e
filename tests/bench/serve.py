#!/usr/bin/python3
"""Starts by `zrun serve` against crun and runc: the same program, mounts,
capabilities and kinds of namespaces; /run is a tmpfs and /data a btrfs, as on a
node.

    unshare --mount tests/bench/serve.py FIGURE     prints it as JSON

Ours is measured from the request on zrun.sock to the moment at which init has
told of the program's end, theirs is one `run`. A start is followed by a pause,
in which serve may make ready what the next one takes; 200 at once have none.
The same bytes of a config come again and again, which serve notices and starts
ahead; for a container with an address, as most on a node are, it does not, and
that is a row of its own, without a bound.
The program is one that does nothing, so that what is measured is the runtime."""

import contextlib
import copy
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import zrun
from zrun import STARTS, TOP, Bundle, Row, product

sys.path.insert(0, str(TOP / "tests/conformance"))

import test_zrun_serve  # noqa: E402
from zooid import image  # noqa: E402

PAUSE_MS = 20
DATA_MB = 512


@contextlib.contextmanager
def node(path):
    """init --supervise with zrun serve and an image that has the program."""
    (path / "run").mkdir()
    (path / "data").mkdir()
    with open(path / "disk", "wb") as disk:
        disk.truncate(DATA_MB << 20)
    subprocess.run(["mkfs.btrfs", "-q", "-n", "4k", path / "disk"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "run", path / "run"], check=True)
    subprocess.run(["mount", "-o", "loop", path / "disk", path / "data"],
                   check=True)
    made = test_zrun_serve.Node(path)
    layout = image.make("bench-serve", {
        "true": (0o755, program()),
        "bin/busybox": (0o755, zrun.busybox().read_bytes())}, [])
    shutil.copytree(layout, path / "boot/bench")
    index = json.loads((path / "boot/bench/index.json").read_text())
    made.digest = index["manifests"][0]["digest"]
    reply = made.ask(test_zrun_serve.UNPACK, digest=made.digest, path="bench")
    assert reply.error == 0, reply
    try:
        yield made
    finally:
        made.close()
        # Lazily: what serve left to die with it may not be gone yet.
    subprocess.run(["umount", "-l", path / "run", path / "data"], check=True)


def program():
    return pathlib.Path(product(os.uname().machine,
                                "bench/true")).read_bytes()


def served(config):
    """What serve takes of a config: its own seccomp profile holds."""
    ours = copy.deepcopy(config)
    del ours["linux"]["seccomp"]
    ours["linux"].pop("cgroupsPath", None)
    ours["linux"].get("resources", {}).pop("devices", None)
    ours["process"]["noNewPrivileges"] = True
    return ours


def ask(made, config, *args):
    path = made.path / "config.json"
    path.write_text(json.dumps(served(config)))
    return json.loads(subprocess.run(
        [product(os.uname().machine, "bench/serve_start"), *args,
         made.digest, path], env=made.env, check=True,
        stdout=subprocess.PIPE).stdout)


def of_true(bundle, readonly):
    (bundle.path / "rootfs/true").write_bytes(program())
    (bundle.path / "rootfs/true").chmod(0o755)
    bundle.config["root"]["readonly"] = readonly
    bundle.program("/true")


def addressed(bundle):
    of_true(bundle, True)
    bundle.config["annotations"] = {"org.zooid.address": "10.64.0.2"}
    with node(bundle.path / "node") as made:
        ask(made, bundle.config, "10", str(PAUSE_MS))
        return ask(made, bundle.config, str(STARTS), str(PAUSE_MS))


def in_turn(bundle, readonly):
    of_true(bundle, readonly)
    with node(bundle.path / "node") as made:
        ask(made, bundle.config, "10", str(PAUSE_MS))
        ours = ask(made, bundle.config, str(STARTS), str(PAUSE_MS))
    theirs = bundle.in_turns({name: bundle.words(name, "run", name + "-@")
                              for name in ("crun", "runc")})
    return {"ours": ours, **theirs}


def burst(bundle):
    """The best of three each, since the machine has others to serve."""
    found = {}
    bundle.config["root"]["readonly"] = True
    bundle.program("/bin/sleep", "10000")
    with node(bundle.path / "node") as made:
        ask(made, bundle.config, "10", "burst")
        found["ours"] = min(ask(made, bundle.config, str(STARTS),
                                "burst")["all"] for _ in range(3))
    for name in ("crun", "runc"):
        costs = []
        for turn in range(3):
            prefix = "%s-%d-" % (name, turn)
            cost, = bundle.starts("-b", str(STARTS), *bundle.words(
                name, "run", "--detach", prefix + "@"))
            costs.append(cost["wall_us"])
            for i in range(STARTS):
                bundle.call(name, "delete", "--force", prefix + str(i + 1))
        found[name] = min(costs)
    return found


FIGURES = {"shared": lambda bundle: in_turn(bundle, True),
           "own": lambda bundle: in_turn(bundle, False),
           "addressed": addressed, "burst": burst}


def main(name):
    subprocess.run("umount -l /sys/fs/cgroup;"
                   " mount -t cgroup2 none /sys/fs/cgroup", shell=True,
                   check=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        path = pathlib.Path(directory)
        (path / "node").mkdir()
        print(json.dumps(FIGURES[name](Bundle(path))))
        subprocess.run(["umount", directory + "/state"], check=True)


# The rows.

def take(name):
    return json.loads(subprocess.run(
        ["unshare", "--mount", "--propagation", "private", __file__, name],
        check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def timed(what, found, least, bound_ms):
    for which in ("min", "median"):
        ms = found["ours"]["exit"][which] / 1000
        for peer in ("crun", "runc"):
            theirs = found[peer]["wall_us"][which] / 1000
            yield Row("zrun serve: %s, %s" % (what, which), ms, "ms", None,
                      theirs / ms, peer, least[peer])
    yield Row("zrun serve: %s, exec reached" % what,
              found["ours"]["exec"]["min"] / 1000, "ms")
    yield Row("zrun serve: %s, min" % what, found["ours"]["exit"]["min"] / 1000,
              "ms", bound_ms)


def serve_shared():
    yield from timed("shared root", take("shared"), {"crun": 20, "runc": 70},
                     0.3)


def serve_own():
    yield from timed("a root of its own", take("own"),
                     {"crun": 10, "runc": 35}, 0.6)


def serve_addressed():
    found = take("addressed")
    for which in ("min", "median"):
        yield Row("zrun serve: shared root, with an address, %s" % which,
                  found["exit"][which] / 1000, "ms")


def serve_burst():
    found = take("burst")
    for peer, least in (("crun", 5), ("runc", 15)):
        yield Row("zrun serve: %d at once" % STARTS, found["ours"] / 1000,
                  "ms", None, found[peer] / found["ours"], peer, least)


GROUPS = [serve_shared, serve_own, serve_addressed, serve_burst]

if __name__ == "__main__":
    main(sys.argv[1])
