"""zctl as an operator runs it, and nodes that obey."""

import contextlib
import http.client
import json
import os
import pty
import select
import subprocess
import threading
import time

from hub import ASK, BYE, DESIRED, ENVIRONMENT, Node, opened
from zooid import BUILD, process

ZCTL = BUILD / "host/bin/zctl"
DONE, FAILED, USAGE, REFUSED, AGAIN, INTERRUPTED = 0, 1, 2, 100, 111, 130
WAIT_S = 30


class Zctl:
    """Runs zctl with a credential of the hub's, in a directory."""

    def __init__(self, folder, directory, credential="operator"):
        self.directory = directory
        self.environment = {
            **ENVIRONMENT, "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
            "ZOOID_OPERATOR": str(folder / (credential + ".json"))}
        for name in ("ZOOID_HUB", "NO_COLOR", "COMPOSE_PROJECT_NAME"):
            self.environment.pop(name, None)

    def run(self, *arguments, code=DONE, **options):
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        done = subprocess.run(
            [ZCTL, *map(str, arguments)], text=True, capture_output=True,
            timeout=60,
            **{"cwd": self.directory, "env": self.environment, **options})
        assert done.returncode == code, (
            arguments, done.returncode, done.stdout, done.stderr)
        return done

    def __call__(self, *arguments, **options):
        """The lines of its standard output."""
        return self.run(*arguments, **options).stdout.splitlines()

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "-o", "json", **options).stdout)

    def fails(self, *arguments, code=FAILED, **options):
        """Its one line of complaint."""
        done = self.run(*arguments, code=code, **options)
        assert done.stdout == "", done.stdout
        line, = done.stderr.splitlines()
        assert line.startswith("zctl: "), line
        return line[len("zctl: "):]

    def start(self, *arguments, **options):
        return process.start(
            [ZCTL, *arguments], cwd=self.directory,
            **{"env": self.environment, "stdin": subprocess.DEVNULL,
               "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               "text": True, **options})

    @contextlib.contextmanager
    def terminal(self, *arguments, **environment):
        with contextlib.closing(Terminal(self, arguments,
                                         environment)) as made:
            yield made

    def compose(self, text, name="compose.yaml"):
        path = self.directory / name
        path.write_text(text)
        return path


class Terminal:
    """zctl on a terminal of its own."""

    def __init__(self, zctl, arguments, environment):
        self.master, slave = pty.openpty()
        self.before = os.ttyname(slave)
        self.slave = slave
        self.process = zctl.start(
            *arguments, stdin=slave, stdout=slave, stderr=slave, text=False,
            env={**zctl.environment, "TERM": "xterm", **environment})
        self.seen = b""

    def read(self, what, deadline_s=WAIT_S):
        """All that came, once `what` is in it."""
        end = time.monotonic() + deadline_s
        while what not in self.seen:
            ready, _, _ = select.select([self.master], [], [],
                                        max(0, end - time.monotonic()))
            assert ready, (what, self.seen)
            self.seen += os.read(self.master, 65536)
        return self.seen

    def type(self, keys):
        os.write(self.master, keys)

    def wait(self):
        """Its exit status, and what is left to be read."""
        code = self.process.wait(WAIT_S)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        return code

    def close(self):
        process.end(self.process)
        os.close(self.master)
        os.close(self.slave)


class Obeying(Node):
    """A node that takes its documents, tells states for them, and answers."""

    def __init__(self, hub, directory, name, **states):
        super().__init__(hub, directory, name)
        self.states = states  # of apps; else running
        self.refusal = None  # why it takes no document
        self.log, self.log_status = b"one\ntwo\n", 200
        self.asks = []
        self.hold = threading.Event()  # set: the log may end
        self.document = None
        self.changed = threading.Condition()
        self.stream = self.watch()
        self.threads = [threading.Thread(target=self._follow, daemon=True)]
        self.threads[0].start()

    def close(self):
        self.hold.set()
        self.stream.node = None
        # None once the hub itself has ended the stream.
        with contextlib.suppress(OSError, AttributeError):
            self.stream.reply.fp.raw._sock.shutdown(2)
        for thread in self.threads:
            thread.join(WAIT_S)
        self.stream.close()

    def _follow(self):
        with contextlib.suppress(OSError, ValueError, AssertionError,
                                 http.client.HTTPException):
            while True:
                frame = self.stream.frame(3600)
                if not frame or frame[0] == BYE:
                    return
                if frame[0] == DESIRED:
                    self._obey(opened(self.hub, frame[1]))
                elif frame[0] == ASK:
                    self._answer(json.loads(frame[1]))

    def _obey(self, document):
        if self.refusal:
            self.observe(document_error=self.refusal)
            return
        head = {k: document[k] for k in ("epoch", "revision")}
        self.client.ask("POST", "/v1/nodes/%s/acknowledged" % self.id, head)
        with self.changed:
            self.document = document
            self.changed.notify_all()
        self.tell()

    def tell(self):
        document = self.document
        apps = [{"name": app["name"], "image": app["image"],
                 "restarts": 0, "cpu_ms": 1500, "memory_bytes": 1 << 20,
                 "started": "2020-01-01T00:00:00Z", "container": "c-1",
                 "state": "running", **self.states.get(app["name"], {})}
                for app in document["apps"]]
        self.client.ask("PUT", "/v1/nodes/%s/observed" % self.id, {
            "node": {}, "apps": apps, "desired": {
                k: document[k] for k in ("epoch", "revision")}})

    def _answer(self, ask):
        if ask["verb"] == "observe":
            if self.document:
                self.tell()
            return
        self.asks.append(ask)
        thread = threading.Thread(target=self._logs, args=(ask,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def _logs(self, ask):
        def chunks():
            yield self.log
            if ask.get("follow"):
                self.hold.wait(WAIT_S)
        with contextlib.closing(self.client.connect()) as connection, \
                contextlib.suppress(OSError, http.client.HTTPException):
            connection.request(
                "POST", "/v1/streams/%s?status=%d" % (
                    ask["stream"], self.log_status), chunks(),
                {"transfer-encoding": "chunked"}, encode_chunked=True)
            connection.getresponse().read()
