"""zlog under `init --supervise` on this machine, with the sanitizers in it."""

import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import time

import pytest

from zooid import messages, process
from zooid.build import product
from zooid.host import BIN, DEADLINE_S, Supervised, directory
from zooid.mount import Frozen, make_disk, mount, unmount

UID_ZLOG = 101
SILENT = 1000  # containers, of an application each
FILE_MAX = 512 << 10  # bytes, of each of the two files of a source
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "

# Some of them write as containers do: to a pipe that makes them wait.
BLOCKING = """
import fcntl, os, sys
for fd in 1, 2:
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL)
                & ~os.O_NONBLOCK)
"""


def numbers(text):
    return [int(n) for n in re.findall(r"calm (\d+)$", text, re.M)]


class Host(Supervised):
    def __init__(self, path, scripts, tmpfs=None, disk=None,
                 zlog=BIN / "zlog"):
        super().__init__(path, ZOOID_DATA=path / "data")
        self.logs = path / "data/logs"
        self.logs.mkdir(parents=True)
        if tmpfs:
            mount("-t", "tmpfs", "-o", tmpfs, "none", self.logs)
        if disk:
            mount("-o", "loop", disk, self.logs)
        self.mounted = bool(tmpfs or disk)
        os.chown(self.logs, UID_ZLOG, UID_ZLOG)
        lines = ["zlog kmsg uid=%d mode=0600 files=4096 : %s" % (
            UID_ZLOG, zlog)]
        for name, text in scripts.items():
            script = path / (name + ".py")
            script.write_text(text)
            lines.append("%s silent needs=zlog : /usr/bin/python3 %s" %
                         (name, script))
        self.supervise(*lines)

    def tail(self, name, lines=20):
        done = subprocess.run([BIN / "zlog", "tail", "-n", str(lines), name],
                              env=self.env, capture_output=True, timeout=30)
        return done.stdout.decode(errors="replace")

    def wait_tail(self, name, pattern, lines=20):
        self.wait(lambda: re.search(pattern, self.tail(name, lines), re.M))

    def follow(self, name):
        return process.start([BIN / "zlog", "tail", "-f", "-n", "0", name],
                             env=self.env, stdout=subprocess.PIPE)

    def file(self, name, suffix=""):
        return self.logs / ("%s.log%s" % (name, suffix))

    def writer(self):
        """The pid of zlog's process that touches the disk; None: none."""
        zlog = self.pid("zlog")
        path = "/proc/%d/task/%d/children" % (zlog, zlog)
        pids = pathlib.Path(path).read_text().split()
        return int(pids[0]) if pids else None

    def close(self):
        super().close()
        if self.mounted:
            unmount(self.logs)


@pytest.fixture
def start():
    with directory() as path:
        made = []

        def started(**options):
            made.append(Host(path, **options))
            return made[0]
        yield started
        for host in made:
            host.close()


def test_lines(start):
    host = start(scripts={"talk": """
import sys, time
print("<4>talk: a warning", flush=True)
time.sleep(0.01)  # of another millisecond
print("plain \\033[31mred\\033[0m", file=sys.stderr, flush=True)
sys.stdout.write("no end"); sys.stdout.flush()
time.sleep(1000)
""", "many": """
import time
print(*range(130), sep="\\n", flush=True)
time.sleep(1000)
"""})
    host.wait_tail("talk", "plain")
    assert re.fullmatch(STAMP + r"warning talk: a warning\n" +
                        STAMP + r"info plain \?\[31mred\?\[0m\n",
                        host.tail("talk"))
    assert host.tail("talk", 1).endswith("red?[0m\n")
    # Warnings of services also go to the kernel log; here, to stderr.
    assert "<4>talk: a warning\n" in host.said()
    assert "plain" not in host.said()
    host.wait(lambda: host.file("talk").exists() and
              host.file("talk").read_text() == host.tail("talk"))
    assert host.tail("nobody") == ""
    first, second = host.tail("talk").splitlines(keepends=True)
    for since, shown in ((second.split()[0], second), ("1h", first + second),
                         ("2000-01-01T00:00:00+01:00", first + second),
                         ("3000-01-01T00:00:00Z", "")):
        done = subprocess.run(
            [BIN / "zlog", "tail", "--since", since, "talk"], env=host.env,
            capture_output=True, text=True, timeout=30)
        assert done.stdout == shown and done.returncode == 0, done
    host.wait_tail("many", " 129")
    done = subprocess.run(
        [BIN / "zlog", "tail", "--since", "1970-01-01T00:00:00Z", "many"],
        env=host.env, capture_output=True, text=True, timeout=30)
    assert len(done.stdout.splitlines()) == 130, "all, as of any other time"
    done = subprocess.run([BIN / "zlog", "tail", "--since", "noon", "talk"],
                          env=host.env, capture_output=True, timeout=30)
    assert done.returncode == 2
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN / "zlog", "tail", "talk"], env=host.env,
                              stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 1 and done.stderr == \
        b"zlog: standard output: No space left on device\n"


def test_follow(start, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    host = start(scripts={"talk": """
print("before", flush=True)
for line in open(%r): print(line, end="", flush=True)
""" % str(gate)})
    host.wait_tail("talk", "before")
    follower = host.follow("talk")
    with open(gate, "w", buffering=1) as out:
        # It may be there only after the first ones were printed.
        for number in range(1000):
            out.write("line %d\n" % number)
            host.wait_tail("talk", "line %d$" % number)
            if os.get_blocking(follower.stdout.fileno()):
                os.set_blocking(follower.stdout.fileno(), False)
            if follower.stdout.read1(1):
                break
        os.set_blocking(follower.stdout.fileno(), True)
        out.write("the last one\n")
        assert any(b"the last one" in line for line in follower.stdout)
        process.end(follower)


FLOOD = BLOCKING + """
print("flood starts", flush=True)
line = b"x" * 99 + b"\\n"
for _ in range(5000): sys.stdout.buffer.write(line * 10)
sys.stdout.buffer.flush()
print("flood ends", flush=True)
import time; time.sleep(1000)
"""
CALM = """
import time
for n in range(100000):
    print("calm %d" % n, flush=True)
    time.sleep(0.02)
"""


def test_flood(start):
    """5 MB at once do not stop their program, nor hide others, nor fill the
    disk; how much was dropped is told."""
    host = start(scripts={"flood": FLOOD, "calm": CALM})
    host.wait_tail("flood", r"lines dropped, too many at once", 1000)
    last = numbers(host.tail("calm"))[-1]
    host.wait_tail("calm", "calm %d$" % (last + 20))
    seen = numbers(host.tail("calm", 1000))
    assert seen == list(range(seen[0], seen[-1] + 1))
    host.wait_tail("flood", "flood ends|lines dropped")
    for suffix in "", ".1":
        if host.file("flood", suffix).exists():
            assert host.file("flood", suffix).stat().st_size <= FILE_MAX


ROTATE = BLOCKING + """
import time
for n in range(30000):
    print("line %05d %s" % (n, "y" * 60), flush=True)
    if n % 100 == 99: time.sleep(0.1)  # stays below the rate
"""


def test_rotation(start):
    host = start(scripts={"much": ROTATE})
    host.wait(host.file("much", ".1").exists)
    old = host.file("much", ".1").read_text()
    assert FILE_MAX * 0.9 < len(old) <= FILE_MAX
    seen = [int(n) for n in re.findall(r"line (\d+)", old)]
    assert seen == list(range(len(seen)))
    host.wait(host.file("much").exists)
    assert re.match(STAMP + "info line %05d " % len(seen),
                    host.file("much").read_text() or host.tail("much", 1000))


@pytest.mark.parametrize("keep, size, files", [
    ((100 << 10, 4), 100 << 10, 4), ((64 << 10, 1), 64 << 10, 1),
    # Nonsense is the nearest that can be.
    ((1, 1000), 64 << 10, 8)])
def test_rotation_as_the_application_says(start, keep, size, files):
    host = start(scripts={"calm": CALM})
    init = messages.Init(host.run)
    reader, writer = os.pipe()
    init.put_output("web-1", 1, reader, keep)
    os.close(reader)
    # Of before, when more files were kept.
    for age in range(files, 8):
        host.file("web", ".%d" % age).write_text("old\n")
    sent, line = 0, b"x" * 199 + b"\n"
    while sent < size * (files + 2):
        for _ in range(100):
            os.write(writer, line)
        sent += 100 * len(line)
        time.sleep(0.25)  # stays below the rate
    found = {p.name: p.stat().st_size for p in host.logs.glob("web.log*")}
    assert set(found) == {"web.log"} | {
        "web.log.%d" % age for age in range(1, files)}
    for name, found_size in found.items():
        assert found_size <= size
        assert name == "web.log" or found_size > size * 0.5
    os.close(writer)


def test_full_disk(start):
    """Lines stay readable in memory; writing goes on when there is room."""
    host = start(scripts={"calm": CALM}, tmpfs="size=256k,nr_inodes=100")
    filler = host.logs / "filler"
    with open(filler, "wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            pass
    host.wait(lambda: "cannot write its log" in host.said())
    host.wait_tail("calm", r"calm \d+")
    assert host.said().count("cannot write its log") == 1
    filler.unlink()
    host.wait(lambda: "logs are written again" in host.said())
    written = numbers(host.file("calm").read_text())
    assert written == list(range(len(written)))


@pytest.fixture
def hang(start, tmp_path):
    """Starts a host whose logs lie on a disk of their own; then hangs it."""
    image = make_disk(tmp_path / "disk", 16)
    frozen = []

    def hanging(**options):
        host = start(disk=image, **options)
        host.wait(host.file("calm").exists)
        frozen.append(Frozen(host.logs))
        return host, frozen[0]
    yield hanging
    for one in frozen:
        one.thaw()


def is_waiting(pid):
    """In the kernel, where no signal reaches it."""
    stat = pathlib.Path("/proc/%d/stat" % pid).read_text()
    return stat.rsplit(")", 1)[1].split()[0] == "D"


def test_hanging_disk(hang):
    """Pipes are read, clients answered, new logs begun; nothing is lost."""
    host, disk = hang(scripts={"calm": CALM, "flood": FLOOD})
    zlog = host.pid("zlog")
    host.wait(lambda: is_waiting(host.writer()))
    last = numbers(host.tail("calm"))[-1]
    host.wait_tail("calm", "calm %d$" % (last + 100))
    host.wait_tail("flood", r"lines dropped, too many at once", 1000)
    init = messages.Init(host.run)
    reader, writer = os.pipe()
    init.put_output("new-1", 1, reader)
    os.write(writer, b"here\n")
    host.wait_tail("new", "here$")
    assert host.tail("nobody") == ""
    host.wait(lambda: "its log: the disk does not answer" in
              host.said())
    assert host.pid("zlog") == zlog
    disk.thaw()
    host.wait(lambda: "logs are written again" in host.said())
    last = numbers(host.tail("calm"))[-1]
    host.wait(lambda: last in numbers(host.file("calm").read_text()))
    written = numbers(host.file("calm").read_text())
    assert written == list(range(len(written)))
    host.wait(host.file("new").exists)
    os.close(writer)


def test_zlog_killed_while_its_disk_hangs(hang):
    """A new one serves from memory, without what the disk has."""
    host, disk = hang(scripts={"calm": CALM})
    host.wait(lambda: is_waiting(host.writer()))
    old = host.pid("zlog")
    os.kill(old, signal.SIGKILL)
    host.wait(lambda: host.said().count("zlog: ready") == 2)
    host.wait_tail("calm", r"calm \d+$")
    last = numbers(host.tail("calm"))[-1]
    host.wait_tail("calm", "calm %d$" % (last + 100))
    assert host.pid("zlog") != old
    disk.thaw()
    host.wait(lambda: last in numbers(host.file("calm").read_text()))


def test_ends_while_its_disk_hangs(hang):
    host, disk = hang(scripts={"calm": CALM})
    host.wait(lambda: is_waiting(host.writer()))
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(DEADLINE_S) == 0, host.said()
    assert "killed" not in host.said()


def test_killed_writer(start):
    """It is started anew, and nothing is lost."""
    host = start(scripts={"calm": CALM})
    for again in range(1, 4):
        host.wait(host.writer)
        before = host.file("calm").stat().st_size if again > 1 else 0
        os.kill(host.writer(), signal.SIGKILL)
        host.wait(lambda: host.said().count("writer: ended") == again)
        host.wait(host.file("calm").exists)
        host.wait(lambda: host.file("calm").stat().st_size > before)
    assert host.said().count("zlog: ready") == 1
    last = numbers(host.tail("calm"))[-1]
    host.wait(lambda: last in numbers(host.file("calm").read_text()))
    written = numbers(host.file("calm").read_text())
    assert written == list(range(len(written)))


def test_ends_with_all_written(start):
    """What came last is in the file although no flush was due."""
    host = start(scripts={"calm": CALM})
    host.wait_tail("calm", "calm 5$")
    last = numbers(host.tail("calm"))[-1]
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(DEADLINE_S) == 0
    assert last in numbers(host.file("calm").read_text())


def test_killed_zlog(start):
    """The pipe keeps what comes meanwhile; the file what was."""
    host = start(scripts={"calm": CALM})
    host.wait(host.file("calm").exists)
    host.wait(lambda: "calm 3\n" in host.file("calm").read_text())
    old = host.pid("zlog")
    os.kill(old, signal.SIGKILL)
    host.wait(lambda: host.said().count("zlog: ready") == 2)
    assert "calm 3\n" in host.tail("calm", 1000)
    last = numbers(host.tail("calm"))[-1]
    host.wait_tail("calm", "calm %d$" % (last + 20))
    assert host.pid("zlog") != old


def test_containers_of_an_application(start):
    """One log for all of them; the last words count too."""
    host = start(scripts={"calm": CALM})
    init = messages.Init(host.run)
    for number in 1, 2:
        reader, writer = os.pipe()
        init.put_output("web-%d" % number, 2, reader)
        os.write(writer, b"hello\nthe end")
        host.wait_tail("web", "web-%d: hello$" % number)
        os.close(writer)
        init.drop_output("web-%d" % number, 2)
        host.wait_tail("web", "web-%d: the end$" % number)
    lines = re.findall("info (.*)", host.tail("web"))
    assert lines == ["web-1: hello", "web-1: the end",
                     "web-2: hello", "web-2: the end"]
    assert host.tail("web-2") == host.tail("web")
    # An application may have the name of a service.
    reader, writer = os.pipe()
    init.put_output("calm-1", 1, reader)
    os.write(writer, b"I am another\n")
    host.wait_tail("calm-1", "calm-1: I am another$")
    assert "another" not in host.tail("calm", 1000)


def anonymous_kb(pid):
    text = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text()
    return int(re.search(r"^Anonymous:\s+(\d+) kB", text, re.M)[1])


def test_silent_containers_take_no_memory(start):
    """But what is noted of each; their lines have room of its own. All are
    read, as many as a node has. By the program of a node: gcc's sanitizers keep
    stack frames that were left."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    host = start(scripts={"calm": CALM},
                 zlog=product(os.uname().machine, "bin/zlog"))
    host.wait_tail("calm", "calm 1$")
    init, pid, writers = messages.Init(host.run), host.pid("zlog"), []
    before = anonymous_kb(pid)
    for number in range(SILENT):
        for output in 1, 2:
            reader, writer = os.pipe()
            init.put_output("quiet%d-1" % number, output, reader)
            os.close(reader)
            writers.append(writer)
    host.wait(lambda: len(os.listdir("/proc/%d/fd" % pid)) > 2 * SILENT)
    assert anonymous_kb(pid) - before < SILENT * 4 / 2
    os.write(writers[-1], b"no more\n")
    host.wait_tail("quiet%d" % (SILENT - 1), "no more$")
    for writer in writers:
        os.close(writer)


def test_files_of_ended_applications_go(start):
    """The newest 32 of them stay, and those of who lives."""
    host = start(scripts={"calm": CALM})
    for age in range(40):
        name = "old%d" % age
        host.file(name).write_text("I was %s\n" % name)
        os.utime(host.file(name), (10 ** 9 - age, 10 ** 9 - age))
    assert host.tail("old39-7") == "I was old39\n"
    init = messages.Init(host.run)
    reader, writer = os.pipe()
    init.put_output("new-1", 1, reader)
    os.write(writer, b"here\n")
    host.wait_tail("new", "here$")
    os.close(writer)
    host.wait(lambda: not host.file("old39").exists())
    kept = {"old%d.log" % n for n in range(31)}
    assert {path.name for path in host.logs.glob("old*")} == kept
    assert host.file("new").exists()
    host.wait(host.file("calm").exists)


def test_garbage_on_its_socket(start, rng):
    host = start(scripts={"calm": CALM})
    for _ in range(200):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(host.run / "zlog.sock"))
            size = rng.choice((0, 1, 8, 79, 80, 80, 80, 4096))
            data = bytearray(rng.randbytes(size))
            data[:8] = struct.pack("<II", size, 1)[:size]
            if rng.random() < 0.3:
                data[16:] = b"calm".ljust(64, b"\0")[:len(data[16:])]
            try:
                socket.send_fds(sock, [bytes(data)], [0] * rng.choice((0, 2)))
            except ConnectionError:
                pass
    host.wait_tail("calm", r"calm \d+")
    assert host.said().count("zlog: ready") == 1
