"""A program in the place of a service of init, for the test of another one: it
takes the same messages and answers as it is told by files.

A file DIRECTORY/next-VERB, used once, changes the next answer to that verb; what
was asked becomes a line in DIRECTORY/requests."""

import os
import pathlib
import selectors
import socket

LISTEN_FD, STATUS_FD = 3, 4
PING_S = 5


def text(field):
    return field.split(b"\0")[0].decode()


class Peer:
    """Derived classes have serve(client), which reads one message."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(fileno=LISTEN_FD)
        self.selector.register(self.listener, selectors.EVENT_READ,
                               self.accept)

    def accept(self, _):
        client, _ = self.listener.accept()
        client.setblocking(True)
        self.selector.register(client, selectors.EVENT_READ, self.serve)

    def gone(self, client):
        self.selector.unregister(client)
        client.close()

    def order(self, verb):
        """The two words of next-VERB, which is used up; "" for none."""
        path = self.directory / ("next-" + verb)
        try:
            words = path.read_text().split()
            path.unlink()
        except FileNotFoundError:
            return "", ""
        return (words + [""])[:2]

    def log(self, *words):
        with open(self.directory / "requests", "a") as log:
            log.write(" ".join(words) + "\n")

    def run(self):
        os.write(STATUS_FD, b"R")
        while True:
            for key, _ in self.selector.select(PING_S):
                try:
                    key.data(key.fileobj)
                except (BrokenPipeError, ConnectionResetError):  # was killed
                    self.gone(key.fileobj)
            os.write(STATUS_FD, b"P")
