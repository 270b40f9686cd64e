"""Containers with a terminal, from the side of an engine."""

import contextlib
import os
import select
import socket

from oci import DEADLINE


@contextlib.contextmanager
def terminal_of(bundle, *args):
    """Starts args with a terminal; its master."""
    server = bundle.console()
    name = bundle.create(*args, options=["--console-socket", "console"])
    connection, _ = server.accept()
    _, fds, _, _ = socket.recv_fds(connection, 256, 1)
    bundle.start(name)
    try:
        yield fds[0]
    finally:
        os.close(fds[0])
        connection.close()
        server.close()


def read_all(fd):
    """What comes until the last process has closed the other side."""
    out = b""
    while select.select([fd], [], [], DEADLINE)[0]:
        try:
            part = os.read(fd, 4096)
        except OSError:
            break
        if not part:
            break
        out += part
    return out.decode()
