"""The network of one node, at whose other end is a DHCP server that answers
when it is told to, and remembers what it was asked (RFC 2131)."""

import dataclasses
import socket
import struct
import threading

from . import process
from .log import Late

DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
SERVER, CLIENT, MASK = "10.0.2.2", "10.0.2.15", "255.255.255.0"
SERVER_MAC = b"\x52\x55\x0a\x00\x02\x02"
COOKIE = b"\x63\x82\x53\x63"
# Ethernet, IPv4 without options, UDP; then BOOTP to its cookie.
HEADERS, OPTIONS = 14 + 20 + 8, 240


@dataclasses.dataclass
class Question:
    kind: int
    xid: bytes
    secs: int  # since the client began to ask
    message: bytes


def options(message):
    at, found = OPTIONS, {}
    while at + 1 < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        size = message[at + 1]
        found[message[at]] = message[at + 2:at + 2 + size]
        at += 2 + size
    return found


def question(frame):
    """What a client asks in this frame, or None."""
    if (len(frame) < HEADERS + OPTIONS or frame[12:14] != b"\x08\x00" or
            frame[23] != socket.IPPROTO_UDP or frame[36:38] != b"\x00\x43"):
        return None
    message = frame[HEADERS:]
    return Question(options(message)[53][0], message[4:8],
                    struct.unpack("!H", message[8:10])[0], message)


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def answer(asked):
    """The frame that answers a DISCOVER or a REQUEST."""
    server, client, mask = map(socket.inet_aton, (SERVER, CLIENT, MASK))
    message = (bytes([2, 1, 6, 0]) + asked.xid + bytes(8) + client + server +
               bytes(4) + asked.message[28:44] + bytes(192) + COOKIE)
    kind = OFFER if asked.kind == DISCOVER else ACK
    for code, value in ((53, bytes([kind])), (54, server),
                        (51, struct.pack("!I", 3600)), (1, mask)):
        message += bytes([code, len(value)]) + value
    message += b"\xff"
    datagram = struct.pack("!HHHH", 67, 68, 8 + len(message), 0) + message
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64,
                       socket.IPPROTO_UDP, 0, server, b"\xff" * 4)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return b"\xff" * 6 + SERVER_MAC + b"\x08\x00" + head + datagram


class DhcpServer:
    """Node(network=server.netdev()), then server.begin(). `deaf`: it hears, and
    does not answer."""

    def __init__(self):
        self.deaf = False
        self._meeting = process.Meeting()
        self._path = self._meeting.listen("net")
        self._heard = []
        self._changed = threading.Condition()
        self._stream = None

    def netdev(self):
        return "stream,server=off,addr.type=unix,addr.path=%s" % self._path

    def begin(self):
        self._stream = self._meeting.accept("net").makefile("rwb")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            # Each frame behind its length.
            while len(size := self._stream.read(4)) == 4:
                self._hear(self._stream.read(struct.unpack("!I", size)[0]))
        except OSError:
            pass  # the machine has ended

    def _hear(self, frame):
        asked = question(frame)
        if not asked:
            return
        if not self.deaf:
            frame = answer(asked)
            self._stream.write(struct.pack("!I", len(frame)) + frame)
            self._stream.flush()
        with self._changed:
            self._heard.append(asked)
            self._changed.notify_all()

    def count(self):
        with self._changed:
            return len(self._heard)

    def wait_question(self, n, deadline_s=60):
        """Question n, from 0."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._heard) > n,
                                          deadline_s):
                raise Late("question %d was not asked within %g s" % (
                    n, deadline_s))
            return self._heard[n]

    def close(self):
        self._meeting.close()
