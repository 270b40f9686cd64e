"""`init --supervise` on this machine, with the sanitizers in it: what its
children and its peers may do to it."""

import os
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

from zooid import BUILD, FULL, process

INIT = BUILD / "host/bin/init"
MESSAGES = 20000
REQUEST_SIZE = 292  # of struct init_request, so that some get through
VERBS = (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 1 << 31)  # root may end it: 8, 9
ORPHANS = 10000
DYING_S = 3600 if FULL else 60
# Leaves N processes to init once told so, then stays.
ORPHAN_MAKER = """
import os, signal
open(%r).read()
for _ in range(%d // 100):
    pid = os.fork()
    if pid == 0:
        for _ in range(100):
            if os.fork() == 0:
                os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
print("all left", flush=True)
signal.pause()
"""


class Supervisor:
    def __init__(self, directory, services):
        self.run = directory / "run"
        self.run.mkdir(parents=True)
        table = directory / "services"
        table.write_text(services)
        self.env = {**os.environ, "ZOOID_RUN": str(self.run),
                    "ASAN_OPTIONS": "detect_leaks=0"}
        self.errors = directory / "stderr"
        with open(self.errors, "wb") as errors:
            self.process = process.start(
                [INIT, "--supervise", "--services", table], env=self.env,
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def ask(self, verb):
        done = subprocess.run([INIT, verb], env=self.env, text=True,
                              capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr + self.said()
        return done.stdout

    def row(self, name):
        """(state, pid, starts) of a service."""
        match = re.search(r"^%s +(\S+) +(\d+|-) +(\d+) " % name,
                          self.ask("status"), re.M)
        return match[1], match[2], int(match[3])

    def wait(self, ready, deadline_s=30):
        """Asks until ready(); each question waits for init's answer."""
        end = time.monotonic() + deadline_s
        while not ready():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()

    def said(self):
        return self.errors.read_text(errors="replace")

    def children(self):
        """States of init's children, as /proc tells them."""
        pid = self.process.pid
        path = "/proc/%d/task/%d/children" % (pid, pid)
        states = []
        with open(path) as file:
            for child in file.read().split():
                try:
                    with open("/proc/%s/stat" % child) as stat:
                        states.append(stat.read().rsplit(")", 1)[1].split()[0])
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return states


@pytest.fixture
def script(tmp_path):
    """script(text) -> the words of a service that runs it in a shell."""
    count = 0

    def made(text):
        nonlocal count
        count += 1
        path = tmp_path / ("script%d" % count)
        path.write_text(text)
        return "/bin/sh %s" % path
    return made


@pytest.fixture
def supervise(tmp_path):
    made = []

    def started(services):
        made.append(Supervisor(tmp_path / "zooid", services))
        made[0].wait(lambda: (made[0].run / "init.sock").exists())
        return made[0]
    yield started
    for supervisor in made:
        process.end(supervisor.process, term_s=20)
        assert "Sanitizer" not in supervisor.said(), supervisor.said()
        assert "runtime error" not in supervisor.said(), supervisor.said()


def test_output_that_cannot_be_written(supervise):
    init = supervise("still silent : /bin/busybox sleep 1000\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run([INIT, "status"], env=init.env, stdout=full,
                              stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 1 and done.stderr == \
        b"init: standard output: No space left on device\n"


def test_garbage_on_its_socket(supervise, rng):
    init = supervise("still silent : /bin/busybox sleep 1000\n")
    before = init.row("still")
    for _ in range(MESSAGES // 50):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(init.run / "init.sock"))
            sock.setblocking(False)
            for _ in range(50):
                size = rng.choice((0, 1, 8, 64, 291, 292, 292, 292, 4096))
                data = bytearray(rng.randbytes(size))
                if size >= 16:
                    data[:12] = struct.pack("<III", size, rng.choice(VERBS),
                                            rng.randrange(8))
                if rng.random() < 0.5:
                    data[16:80] = b"name".ljust(64, b"\0")[:len(data[16:80])]
                fds = [0] * rng.choice((0, 0, 0, 1, 3))
                try:
                    socket.send_fds(sock, [bytes(data)], fds)
                except (BlockingIOError, BrokenPipeError, ConnectionError):
                    break
    assert init.row("still") == before
    assert len(os.listdir("/proc/%d/fd" % init.process.pid)) < 64


@pytest.mark.deadline(300)
def test_ten_thousand_orphans(supervise, tmp_path, script):
    """All of them end while init is held up, so one signal tells of all."""
    maker, done = tmp_path / "orphans.py", tmp_path / "done"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    maker.write_text(ORPHAN_MAKER % (str(gate), ORPHANS))
    init = supervise("maker silent : " + script(
        "exec /usr/bin/python3 %s >%s\n" % (maker, done)) + "\n")
    init.wait(lambda: init.row("maker")[0] == "ready")
    init.process.send_signal(signal.SIGSTOP)
    try:
        gate.write_text("go\n")
        init.wait(lambda: "all left" in done.read_text(), 200)
    finally:
        init.process.send_signal(signal.SIGCONT)
    assert init.row("maker")[2] == 1
    init.wait(lambda: len(init.children()) == 1)
    assert "Z" not in init.children()


@pytest.mark.deadline(DYING_S + 60)
def test_service_that_dies_at_once(supervise):
    """Starts are paced by a back-off that doubles to its limit; the rest goes
    on; nothing piles up."""
    init = supervise("dies silent : /bin/false\n"
                     "still silent : /bin/busybox sleep 1000\n")
    pid = init.process.pid
    before = len(os.listdir("/proc/%d/fd" % pid))
    end = time.monotonic() + DYING_S
    # It says one line at every end: wait for each by its pause.
    pauses = []
    while time.monotonic() < end:
        init.wait(lambda: len(re.findall(
            r"dies: .*starts again in \d+ ms", init.said())) > len(pauses),
            60)
        pauses = [int(p) for p in re.findall(
            r"dies: .*starts again in (\d+) ms", init.said())]
    assert pauses[:2] == [1, 100], pauses
    assert all(b in (2 * a, 30000) or a == b == 30000
               for a, b in zip(pauses[1:], pauses[2:])), pauses
    assert init.row("still")[2] == 1
    # The line comes before what belonged to the last one is closed.
    init.wait(lambda: len(os.listdir("/proc/%d/fd" % pid)) <= before + 1)


def test_needs_and_readiness(supervise, tmp_path, script):
    """A service starts when what it needs says ready on descriptor 4, not
    before."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = script("read x <%s; printf R >&4; exec sleep 1000\n" % gate)
    init = supervise(
        "first : %s\n"
        "second silent needs=first : /bin/busybox sleep 1000\n" % first)
    assert init.row("first")[0] == "starting"
    assert init.row("second")[0] == "waiting"
    gate.write_text("go\n")
    init.wait(lambda: init.row("second")[0] == "ready")
    assert init.row("first")[0] == "ready"


@pytest.mark.parametrize("how", ["poweroff", signal.SIGTERM])
def test_orderly_end(supervise, tmp_path, script, how):
    """Those who end on SIGTERM may do so, those who do not are killed."""
    told = tmp_path / "told"
    polite = script("trap 'echo >%s; exit' TERM; sleep 1000 & wait\n" % told)
    deaf = script("trap '' TERM; while :; do sleep 1000; done\n")
    init = supervise("polite silent : %s\ndeaf silent : %s\n" % (
        polite, deaf))
    assert init.row("polite")[0] == init.row("deaf")[0] == "ready"
    if how == "poweroff":
        init.ask("poweroff")
    else:
        init.process.send_signal(how)
    assert init.process.wait(30) == 0
    assert told.exists()
