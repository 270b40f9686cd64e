#!/usr/bin/python3
"""Measures what must be measured, each against its bound or a peer.

    tests/bench/run.py [NAME...]     all rows whose name contains a NAME

One line a row (row.py), all of them in build/bench.json, and a non-zero exit
when a bound was missed.

The machine is shared, so times of a peer and of ours are taken in turns
within one run, and their medians compared."""

import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/system"), str(TOP / "tests/system/hub")]
# What a node runs, where the tests would take what looks for mistakes of memory.
os.environ.setdefault("ZOOID_BIN",
                      str(TOP / "build" / os.uname().machine / "bin"))

import agentsim  # noqa: E402
import asleep  # noqa: E402
import density  # noqa: E402
import flash  # noqa: E402
import image as images  # noqa: E402
import react  # noqa: E402
import serve  # noqa: E402
import znet  # noqa: E402
import zrun  # noqa: E402
from row import Row  # noqa: E402
from zooid import (  # noqa: E402
    BUILD, Disk, Node, cpio, debian, image, medium, web)
from zooid.build import product, test_directory  # noqa: E402
from hub import Hub  # noqa: E402
from colony import COMPOSE, PORT, Colony  # noqa: E402

BOOTS = 11
MB = 1 << 20
SHELL_PROMPT = "peer: shell"


# Boot.

def busybox_initrd(directory):
    """An initramfs that leads to a busybox shell on the serial line. The
    shell's first command says that it is there."""
    path = directory / "peer.cpio"
    path.write_bytes(cpio.archive({
        "bin": None, "dev": None, "proc": None, "sys": None,
        "bin/busybox": debian.busybox("x86_64"),
        "init": b"#!/bin/busybox sh\n"
                b"/bin/busybox mount -t devtmpfs dev /dev\n"
                b"/bin/busybox mount -t proc proc /proc\n"
                b"/bin/busybox mount -t sysfs sys /sys\n"
                b"exec /bin/busybox sh -c 'echo \"%s\"; exec sh'\n"
                % SHELL_PROMPT.encode()}))
    return path


def whole_boot():
    """From exec of QEMU to the line that says ready, ours and the peer's in
    turns, on the same machine line with an empty disk and a network."""
    directory = test_directory()
    peer = {"kernel": debian.cloud_kernel(), "initrd": busybox_initrd(directory),
            "append": "console=ttyS0 quiet"}
    seconds = {"ours": [], "peer": []}
    init_ms = []
    medium = directory / "bench.img"
    Disk.make(medium, {"node.json": "{}"})
    settle = True
    for _ in range(BOOTS + 1):
        for who, options, pattern in (
                ("ours", {"dev": False, "append": ""},
                 r"zooid: ready in (\d+) ms"),
                ("peer", peer, SHELL_PROMPT)):
            start = time.monotonic()
            with Node("bench-" + who, disks=[Disk(medium)],
                      **options) as node:
                match = node.wait_for(pattern)
                taken = time.monotonic() - start
                if settle:  # the first boot makes /data
                    if who == "ours":
                        node.console_poweroff()
                    continue
                seconds[who].append(taken)
                if who == "ours":
                    init_ms.append(int(match[1]))
        settle = False
    medium.unlink()
    ours = statistics.median(seconds["ours"])
    theirs = statistics.median(seconds["peer"])
    # No peer has been through the same load: the least is what it takes.
    yield Row("boot: /init to ready, least of %d" % BOOTS, min(init_ms), "ms",
              500)
    yield Row("boot: /init to ready, median", statistics.median(init_ms), "ms")
    yield Row("boot: power to ready", ours, "s", 1.1, ours / theirs,
              "Debian cloud kernel to a shell, %.3f s" % theirs)


def first_boot():
    """As above where /data has still to be made."""
    medium = test_directory() / "bench.img"
    values = []
    for _ in range(3):
        Disk.make(medium, {"node.json": "{}"})
        with Node("bench-first", disks=[Disk(medium)], dev=False,
                  append="") as node:
            values.append(node.wait_ready())
    medium.unlink()
    yield Row("boot: first, /init to ready", statistics.median(values), "ms")


def memory_mb(node):
    """MemTotal and MemAvailable, when the rush of the boot is over."""
    node.wait_for("by DHCP")
    text = node.wait_console("status", r"^keep +done").string
    return [float(re.search(r"%s ([0-9.]+) MB" % name, text)[1])
            for name in ("MemTotal", "MemAvailable")]


def memory():
    """RAM used in a 256 MB machine with all services up, without and with an
    application; what the kernel reserved of it; and a machine of 96 MB."""
    path = test_directory() / "bench.img"
    quiet = {"dev": False, "append": ""}
    with Node("bench-memory", disks=[Disk.make(path, {"node.json": "{}"})],
              **quiet) as node:
        node.wait_ready()
        total, available = memory_mb(node)
    yield Row("memory: used of 256 MB", total - available, "MB", 28)
    yield Row("memory: kernel-reserved", 256 - total, "MB")
    disk = medium.web(path, image.httpd())
    for size in (256, 96):
        with Node("bench-web", disks=[disk], ports=[medium.WEB_PORT],
                  memory_mb=size, **quiet) as node:
            ready_ms = node.wait_ready()
            assert node.fetch(medium.WEB_PORT) == web.PAGE
            total, available = memory_mb(node)
            node.console_poweroff()
        yield Row("memory: of %d MB, an application" % size,
                  total - available, "MB")
    yield Row("boot: with 96 MB, /init to ready", ready_ms, "ms")
    path.unlink()


# Build.

def sizes():
    for arch in ("x86_64", "aarch64"):
        yield Row("size: %s/zooid.efi" % arch,
                  product(arch, "zooid.efi").stat().st_size / MB, "MB", 10)


def make(*targets):
    subprocess.run(["make", "-s", *targets], cwd=TOP, check=True,
                   stdout=subprocess.DEVNULL)


def edit():
    """A .c file of ours changes: until it runs in a node by a development
    boot, and until the release image has it."""
    source = TOP / "runtime/node/main.c"
    make("dev", "image")
    source.touch()
    start = time.monotonic()
    make("dev")
    with Node("bench-edit", dev=True) as node:
        node.wait_ready()
        yield Row("build: edited .c running in a node",
                  time.monotonic() - start, "s", 10)
    source.touch()
    start = time.monotonic()
    make("image")
    yield Row("build: edited .c in zooid.efi", time.monotonic() - start, "s",
              30)


def kernel_cpu():
    """User and system time that the kernel took, as the log of its build says
    if it was built by this user; from nothing, or from the one before."""
    for arch in ("x86_64", "aarch64"):
        log = debian.cache().parent / ("log/linux-%s.log" % arch)
        text = log.read_text() if log.exists() else ""
        match = re.search(r"^(\d+)m([0-9.]+)s (\d+)m([0-9.]+)s\n\Z", text,
                          re.MULTILINE)
        if not match:
            print("build: kernel %s: cached" % arch)
            continue
        user_m, user_s, system_m, system_s = map(float, match.groups())
        cold = not re.search(r"^\+ cp -a .*/obj ", text, re.MULTILINE)
        yield Row("build: kernel %s, CPU%s" % (
            arch, "" if cold else ", rebuilt"),
            user_m + system_m + (user_s + system_s) / 60, "min",
            16 if cold and arch == "x86_64" else None)


# TLS.

def cpu_seconds(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")")[1]
    utime, stime = fields.split()[11:13]
    return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")


def openssl_handshake_us(directory):
    """CPU of one mutual TLS 1.3 handshake in openssl s_server."""
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        " -keyout key.pem -out cert.pem -subj /CN=localhost -days 2",
        shell=True, cwd=directory, check=True, stderr=subprocess.DEVNULL)
    server = subprocess.Popen(
        "exec openssl s_server -accept 127.0.0.1:0 -tls1_3 -www -Verify 2"
        " -CAfile cert.pem -cert cert.pem -key key.pem -no_ticket",
        shell=True, cwd=directory, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    try:
        for line in server.stdout:
            if line.startswith("ACCEPT"):
                address = line.split()[1]
                break
        before = cpu_seconds(server.pid)
        said = subprocess.run(
            "openssl s_time -new -time 2 -connect %s -CAfile cert.pem"
            " -cert cert.pem -key key.pem" % address,
            shell=True, cwd=directory, check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        used = cpu_seconds(server.pid) - before
    finally:
        server.kill()
        server.wait()
    connections = int(re.search(r"(\d+) connections in \d+ real", said)[1])
    return used / connections * 1e6


def handshakes():
    """The hub's side of a mutual handshake: CPU against the primitives that
    it needs, both measured in one process."""
    said = json.loads(subprocess.run([product("x86_64", "bench/handshake")],
                                     check=True, text=True,
                                     stdout=subprocess.PIPE).stdout)
    yield Row("tls: full handshake", said["full_us"] / 1000, "ms", 1.4,
              said["full_ratio"], "primitives")
    yield Row("tls: resumed handshake", said["resumed_us"] / 1000, "ms", 1.4,
              said["resumed_ratio"], "primitives")
    theirs = openssl_handshake_us(test_directory())
    yield Row("tls: full handshake, to openssl", said["full_us"] / 1000, "ms",
              None, said["full_us"] / theirs, "s_server")


# The hub.

STORM = 1000  # clients


@contextlib.contextmanager
def hub_serving():
    """The release program, serving in a folder of its own."""
    with tempfile.TemporaryDirectory() as directory:
        hub = Hub(pathlib.Path(directory) / "hub", product("x86_64",
                                                           "bin/zhub"))
        try:
            hub.start()
            yield hub
            hub.stop()
        finally:
            hub.close()


def hub_alone():
    """Memory of one that serves nobody; and how long one who is connected
    waits while a thousand others begin their handshakes at once, in CPU of the
    hub."""
    with hub_serving() as one:
        yield Row("hub: idle RSS", one.rss_kb() / 1024, "MB", 12)
        pin = json.loads((one.directory / "operator.json").read_text())["pin"]
        # The machine's own hypervisor takes its CPU away now and then.
        said = min((json.loads(subprocess.run(
            [product("x86_64", "bench/storm"), "127.0.0.1:%d" % one.port,
             one.directory / "operator.d", pin, str(STORM),
             str(one.process.pid)], check=True, text=True,
            stdout=subprocess.PIPE).stdout) for _ in range(3)),
            key=lambda storm: storm["cpu"]["max_ms"])
        yield Row("hub: a reply while 1000 connect, p50",
                  said["cpu"]["p50_ms"], "ms")
        yield Row("hub: the worst of %d, CPU" % said["asked"],
                  said["cpu"]["max_ms"], "ms", 100)
        yield Row("hub: the worst, wall", said["wall"]["max_ms"], "ms")


def agent_idle():
    """A node that is enrolled and has nothing to say, at the usual period."""
    said = json.loads(subprocess.run(
        ["unshare", "--net", TOP / "tests/bench/idle_agent.py"], check=True,
        text=True, stdout=subprocess.PIPE).stdout)
    yield Row("zagent: a beat", said["beat_bytes"], "B")
    yield Row("zagent: idle, all in, a day", said["day_kb"], "KB", 400)
    yield Row("zagent: PSS", said["pss_kb"] / 1024, "MB", 1.5)


AGENTS = 1000


def hub_colony():
    """What an idle connection of a real agent costs: pages of the hub and the
    kernel's memory for it, sockets included, as its cgroup counts them. And
    what a storm costs when the hub is killed and starts anew."""
    found = agentsim.measure(AGENTS)
    yield Row("hub: RSS with %d agents" % AGENTS, found["rss_kb"] / 1024, "MB")
    yield Row("hub: an idle connection, all-in", found["bytes_each"] / 1024,
              "KB", 26)
    yield Row("hub: the same after a storm", found["bytes_each_after"] / 1024,
              "KB", 26)
    yield Row("hub: CPU to enrol and connect one", found["enrol_cpu_ms"], "ms")
    yield Row("hub: CPU of %d coming back" % AGENTS, found["back_cpu_s"], "s",
              5)
    yield Row("hub: all of them back after", found["back_s"], "s")
    yield Row("hub: of these with a full handshake", found["back_full"], "")


# Applying.

APPLIES = 5
LAYER_BYTES = 5 * MB


def served_s(colony, node, image_name, page, port):
    """From the start of zctl until the application answers with `page`."""
    name = "on-%d" % port
    text = COMPOSE.replace("hub/httpd:latest", image_name) \
        .replace("name: shop", "name: " + name) \
        .replace("web:", name + ":").replace("%d:80" % PORT, "%d:80" % port)
    start = time.monotonic()
    colony.apply("n1", text=text, options=("--wait=0s",))
    answer = web.fetch(node.url(port), 30, node.process, pause_s=0.01)
    assert answer == page, answer
    return time.monotonic() - start


def layout_of(name, size):
    """An image whose layer cannot be made smaller, and its page."""
    page = "This is %s.\n" % name
    command = ["httpd", "-f", "-h", "/www"]
    return page, image.make(name, {
        "www/index.html": (0o644, page), "noise": (0o644, os.urandom(size))},
        ["--config.cmd=%s" % word for word in command])


def apply_rows():
    """An application is applied with an image of 5 MB that the node has to
    fetch first; then another one with the same image."""
    seconds = {"present": [], "absent": []}
    with tempfile.TemporaryDirectory(dir=test_directory()) as directory, \
            Colony(directory) as colony:
        node = colony.boot("n1", ports=[PORT, PORT + 1])
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        for i in range(APPLIES):
            name = "bench-%d" % i
            page, layout = layout_of(name, LAYER_BYTES)
            colony.push(layout, name + ":1")
            for case, port in (("absent", PORT), ("present", PORT + 1)):
                seconds[case].append(served_s(
                    colony, node, "hub/%s:1" % name, page, port))
            for port in (PORT, PORT + 1):
                colony.zctl("rm", "on-%d" % port)
            colony.wait_rows(0, 60)
    for case, bound in (("present", 0.5), ("absent", 2)):
        yield Row("apply: to answering, image %s" % case,
                  statistics.median(seconds[case]), "s", bound)


GROUPS = [sizes, whole_boot, first_boot, memory, edit, kernel_cpu, handshakes,
          hub_alone, hub_colony, agent_idle, apply_rows, *zrun.GROUPS,
          *serve.GROUPS, *images.GROUPS, *znet.GROUPS,
          *react.GROUPS, *asleep.GROUPS, *flash.GROUPS, *density.GROUPS]


def main(names):
    rows = []
    for group in GROUPS:
        if names and not any(n in group.__name__ for n in names):
            continue
        for row in group():
            print(row.line(), flush=True)
            rows.append(row)
    if not rows:
        sys.exit("bench: no such row; there are: " + ", ".join(
            g.__name__ for g in GROUPS))
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps(
        [row._asdict() for row in rows], indent=1) + "\n")
    missed = [row.name for row in rows if row.missed()]
    if missed:
        sys.exit("bench: missed: " + ", ".join(missed))


if __name__ == "__main__":
    main(sys.argv[1:])
