"""QEMU's control connection."""

import json
import threading
import time

from .log import Late


class QmpError(Exception):
    """QEMU refused a command."""


class Qmp:
    """Commands in order; events are kept for wait_event()."""

    def __init__(self, sock):
        self._sock = sock
        self._file = sock.makefile("rwb")
        self._changed = threading.Condition()
        self._replies, self._events = [], []
        self._ended = False
        json.loads(self._file.readline())
        threading.Thread(target=self._read, daemon=True).start()
        self.command("qmp_capabilities")

    def _read(self):
        try:
            for line in self._file:
                message = json.loads(line)
                with self._changed:
                    if "event" in message:
                        self._events.append(message)
                    else:
                        self._replies.append(message)
                    self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait(self, ready, what, deadline_s):
        end = time.monotonic() + deadline_s
        while not ready():
            left = end - time.monotonic()
            if self._ended or left <= 0:
                raise Late("QMP: no %s within %g s" % (what, deadline_s))
            self._changed.wait(left)

    def command(self, name, /, deadline_s=20, **arguments):
        text = json.dumps({"execute": name, "arguments": arguments})
        with self._changed:
            self._file.write(text.encode() + b"\n")
            self._file.flush()
            self._wait(lambda: self._replies, "reply to " + name, deadline_s)
            reply = self._replies.pop(0)
        if "error" in reply:
            raise QmpError("%s: %s" % (name, reply["error"]["desc"]))
        return reply["return"]

    def human(self, line):
        return self.command("human-monitor-command", **{"command-line": line})

    def wait_event(self, name, deadline_s):
        """The next event `name`, taken off; older ones count."""
        def taken():
            return [e for e in self._events if e["event"] == name]
        with self._changed:
            self._wait(taken, "event " + name, deadline_s)
            event = taken()[0]
            self._events.remove(event)
            return event

    def close(self):
        try:
            self._sock.shutdown(2)
        except OSError:
            pass
        self._sock.close()
