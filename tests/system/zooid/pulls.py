"""A client of zpull.sock (runtime/image/zpull/zpull.h)."""

import array
import socket
import time

from .messages import ZPULL_REPLY, ZPULL_REQUEST

PULL, PROGRESS, BEGUN, DROP = 1, 2, 3, 4
FROM_HUB = 1
DEADLINE_S = 60


def text(field):
    return field.split(b"\0")[0].decode()


class Reply:
    def __init__(self, data, fds):
        (_, self.verb, self.error, _, self.done, self.total, digest_, path,
         line) = ZPULL_REPLY.unpack(data)
        self.digest, self.path, self.text = map(text, (digest_, path, line))
        self.fds = fds

    def __repr__(self):
        return "<%d %d %s %s>" % (self.verb, self.error, self.path, self.text)


class Pull:
    """One connection to zpull with a request."""

    def __init__(self, run, verb, image="", digest="", path="", flags=0):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(str(run / "zpull.sock"))
        self.sock.send(ZPULL_REQUEST.pack(
            ZPULL_REQUEST.size, verb, flags, 0, image.encode(),
            digest.encode(), path.encode()))
        self.progress, self.begun = [], None

    def receive(self):
        data, rights, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(16))
        if not data:
            raise ConnectionResetError
        fds = array.array("i")
        for _, _, part in rights:
            fds.frombytes(part[:len(part) // 4 * 4])
        return Reply(data, list(fds))

    def end(self):
        """The last reply; `progress` has (when, reply) of those before, and
        `begun` that of the layers' beginning."""
        with self.sock:
            while True:
                reply = self.receive()
                if reply.verb == BEGUN:
                    self.begun = reply
                elif reply.verb != PROGRESS:
                    return reply
                else:
                    self.progress.append((time.monotonic(), reply))
