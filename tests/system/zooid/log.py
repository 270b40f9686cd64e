"""What a machine writes on its serial line, and waiting for it."""

import codecs
import re
import threading
import time

SHOWN_LINES = 30
# Once seen, nothing that a test waits for will come.
FATAL = re.compile(r"(Kernel panic - not syncing|Attempted to kill init).*\n")


class Late(AssertionError):
    """An event did not come before its deadline, or no longer can."""


class Log:
    """Reads `sock` to its end in a thread, keeps all of it, and copies it to
    the file `path`."""

    def __init__(self, sock, path, name):
        self.name = name
        self.expect_fatal = False
        self._sock = sock
        self._file = open(path, "wb")
        self._text = ""
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._file:
            while not self._ended:
                try:
                    data = self._sock.recv(65536)
                except OSError:
                    data = b""
                self._file.write(data)
                self._file.flush()
                with self._changed:
                    self._text += decoder.decode(data).replace("\r", "")
                    self._ended = not data
                    self._changed.notify_all()

    @property
    def text(self):
        with self._changed:
            return self._text

    def mark(self):
        """The present end; a wait from here on ignores what came before."""
        with self._changed:
            return len(self._text)

    def since(self, mark):
        return self.text[mark:]

    def send(self, text):
        self._sock.sendall(text.encode())

    def tail(self):
        return "\n".join(self.text.split("\n")[-SHOWN_LINES:])

    def wait_for(self, pattern, deadline_s, mark=0):
        """The first match of `pattern` (^ and $ match at lines) after mark;
        Late after deadline_s, or at once when the machine has ended.

        Text comes in pieces: a pattern that ends with (\\d+) or .* may see
        only a part of it, so let it end with what follows."""
        expression = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + deadline_s
        with self._changed:
            while True:
                match = expression.search(self._text, mark)
                if match:
                    return match
                if not self.expect_fatal and FATAL.search(self._text, mark):
                    self._late(pattern, "the kernel panicked")
                if self._ended:
                    self._late(pattern, "the machine has ended")
                left = end - time.monotonic()
                if left <= 0:
                    self._late(pattern, "%g s are over" % deadline_s)
                self._changed.wait(left)

    def _late(self, pattern, why):
        lines = "\n".join(self._text.split("\n")[-SHOWN_LINES:])
        raise Late("%s: no /%s/ on the serial line: %s; its end:\n%s"
                   % (self.name, pattern, why, lines))

    def close(self):
        self._thread.join(5)
        self._sock.close()
