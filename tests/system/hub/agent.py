"""A real zagent, and the znode that it speaks to when a test is about what
the two say to each other: one that keeps what it is given and tells rows that
the test makes up."""

import base64
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import threading
import time

from hub import ENVIRONMENT
from zooid import BUILD, process

ZAGENT = BUILD / "host/bin/zagent"
WAIT_S = 30
APP, STOP, START, RESTART, INSPECT, DESIRED, REVISION, WATCH = range(1, 9)
STATES = ("absent", "pulling", "image", "starting", "running", "frozen",
          "asleep", "stopping", "failed")
ROW = "64s64s272s72s256s96s8I6Q2I64s15I64s256s4x"
REPLY = struct.Struct("=IIiIQQ256s" + ROW)
REQUEST = struct.Struct("=IIII64s")


def until(what, deadline_s=WAIT_S, step_s=0.02):
    """What `what` returns once it is true; for what tells nobody."""
    end = time.monotonic() + deadline_s
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, "waited in vain"
        select.select([], [], [], step_s)


class Znode:
    """Serves znode.sock of a run directory."""

    def __init__(self, run):
        self.path = str(run / "znode.sock")
        self.epoch = self.revision = 0
        self.refuse = None  # (errno, text) for the next documents
        self.documents = []  # envelopes taken
        self.chains = []
        self.rows = []
        self.offered = 0
        self.lock = threading.Condition()
        self.watchers = []
        self.listener = None
        self.start()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.connections = []
        threading.Thread(target=self._accept, args=(self.listener,),
                         daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for c in self.connections:
                with contextlib.suppress(OSError):
                    c.shutdown(socket.SHUT_RDWR)
            self.watchers = []

    close = stop

    def row(self, name, state, **more):
        """Sets the row of an app, and tells whoever watches."""
        with self.lock:
            rows = {r["name"]: r for r in self.rows}
            rows[name] = {"name": name, "state": state, **more}
            self.rows = list(rows.values())
            watchers = list(self.watchers)
        for connection in watchers:
            with contextlib.suppress(OSError):
                self._reply(connection, WATCH)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,),
                             daemon=True).start()

    def _serve(self, connection):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(connection, 4096, 8)
            except OSError:
                return
            if not data:
                return
            size, verb, arg, _, _ = REQUEST.unpack(data)
            assert size == REQUEST.size
            with contextlib.suppress(OSError):
                self._answer(connection, verb, arg, fds)

    def _answer(self, connection, verb, arg, fds):
        with self.lock:
            rows = list(self.rows)
        if verb == REVISION:
            self._reply(connection, verb)
        elif verb == WATCH:
            with self.lock:
                self.watchers.append(connection)
            self._reply(connection, verb)
        elif verb == APP and arg < len(rows):
            self._reply(connection, verb, row=rows[arg])
        elif verb == APP:
            self._reply(connection, verb, -2, "no such application")
        elif verb == DESIRED:
            texts = []
            for fd in fds:
                with open(fd, "rb") as f:
                    f.seek(0)
                    texts.append(f.read())
            self._take(connection, *texts)

    def _take(self, connection, envelope, chain):
        with self.lock:
            self.offered += 1
            if self.refuse:
                self.lock.notify_all()
                self._reply(connection, DESIRED, *self.refuse)
                return
            document = json.loads(base64.b64decode(
                json.loads(envelope)["payload"]))
            numbers = document["epoch"], document["revision"]
            stale = numbers <= (self.epoch, self.revision)
            if not stale:
                self.epoch, self.revision = numbers
                self.documents.append(document)
                self.chains.append(chain.decode())
            self._reply(connection, DESIRED, -116 if stale else 0,
                        "not newer" if stale else "")
            self.lock.notify_all()

    def wait(self, what, deadline_s=WAIT_S):
        with self.lock:
            assert self.lock.wait_for(lambda: what(self), deadline_s), (
                self.documents)

    def _reply(self, connection, verb, error=0, text="", row=None):
        row = row or {"name": "", "state": "absent"}
        encoded = [row.get(k, "").encode() for k in (
            "name", "container", "image", "digest", "reason")]
        counters = [row.get(k, 0) for k in (
            "stopped", "pid", "restarts")]
        connection.send(REPLY.pack(
            REPLY.size, verb, error, 0, self.epoch, self.revision,
            text.encode(), *encoded, row.get("limit", "").encode(),
            STATES.index(row["state"]), *counters,
            0, 0, 1, 0, 0, row.get("started_ms", 0),
            row.get("memory_bytes", 0), row.get("memory_used", 0),
            row.get("cpu_ms", 0), 0, 0, 0, b"", *[0] * 15, b"", b""))


class Services:
    """init --supervise with zlog and an application that writes lines, in
    the directories of an agent."""

    def __init__(self, agent, name, script):
        (agent.directory / "data/logs").mkdir()
        program = agent.directory / (name + ".py")
        program.write_text(script)
        table = agent.directory / "services"
        table.write_text(
            "zlog kmsg mode=0666 : %s\n"
            "%s silent needs=zlog : /usr/bin/python3 -u %s\n" % (
                BUILD / "host/bin/zlog", name, program))
        self.log = agent.directory / "init.log"
        with open(self.log, "wb") as log:
            self.process = process.start(
                [BUILD / "host/bin/init", "--supervise", "--services", table],
                env=agent.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        try:
            until(lambda: "init: ready" in self.log.read_text())
        except AssertionError as error:
            raise AssertionError(self.log.read_text()) from error

    def close(self):
        process.end(self.process, 10)


class Agent:
    """zagent of a node with its own directories."""

    def __init__(self, directory, token, name="n1", znode=True,
                 program=ZAGENT, folder=None, **environment):
        self.directory = pathlib.Path(directory) / (folder or name)
        self.name, self.program = name, program
        for part in ("run", "data", "boot"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        self.identity = self.directory / "data/identity"
        self.log = self.directory / "log"
        self.environment = {
            **ENVIRONMENT, "ZOOID_RUN": str(self.directory / "run"),
            "ZOOID_DATA": str(self.directory / "data"),
            "ZOOID_BOOT": str(self.directory / "boot"), **environment}
        self.process = None
        self.write(token)
        self.znode = Znode(self.directory / "run") if znode else None

    def serve_znode(self):
        self.znode = Znode(self.directory / "run")
        return self.znode

    def write(self, token, **more):
        settings = {"name": self.name, **more}
        if token:
            settings["hub"] = {"token": token}
        (self.directory / "boot/node.json").write_text(
            json.dumps(settings, indent=1))

    def start(self):
        with open(self.log, "ab") as log:
            self.process = process.start(
                [self.program], env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self._answers() or self.process.poll() is not None)
        return self

    def _answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            return s.connect_ex(str(self.directory / "run/zagent.sock")) == 0

    def stop(self):
        """Ends it in order; any finding of the sanitizers is a failure."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(30)
            self.process = None
            assert code == 0, self.said()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        if self.process:
            alive = self.process.poll() is None
            self.kill()
            assert alive, self.said()
        if self.znode:
            self.znode.close()

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() \
            else ""

    def wait_said(self, text, deadline_s=WAIT_S, count=1):
        def look():
            assert not self.process or self.process.poll() is None, \
                self.said()
            return self.said().count(text) >= count
        try:
            until(look, deadline_s)
        except AssertionError as error:
            raise AssertionError("no %r in:\n%s" % (text, self.said())) \
                from error

    def status(self):
        done = subprocess.run(
            [self.program, "status", "-o", "json"], env=self.environment,
            capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr + self.said()
        return json.loads(done.stdout)

    def wait_state(self, state, deadline_s=WAIT_S):
        def look():
            assert self.process.poll() is None, self.said()
            found = self.status()
            return found if found["state"] == state else None
        try:
            return until(look, deadline_s, 0.1)
        except AssertionError as error:
            raise AssertionError("never %s: %s\n%s" % (
                state, self.status(), self.said())) from error

    def redirect(self, *addresses):
        """Where it dials from the next start on."""
        kept = self.kept()
        kept["hub"] = list(addresses)
        (self.identity / "identity.json").write_text(json.dumps(kept))
        with contextlib.suppress(FileNotFoundError):
            (self.identity / "session").unlink()

    def kept(self):
        return json.loads((self.identity / "identity.json").read_text())
