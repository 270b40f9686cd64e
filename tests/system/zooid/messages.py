"""Messages between our programs, as their headers declare them: init/init.h,
runtime/zrun/serve.h, runtime/image/zpull/zpull.h, runtime/node/znode.h,
runtime/net/route.h."""

import ipaddress
import socket
import struct

INIT_PUT, INIT_BIND, INIT_NOTE, INIT_GET, INIT_DROP = range(1, 6)
ZRUN_START, ZRUN_KILL, ZRUN_DELETE = 1, 2, 3
ZRUN_EXEC, ZRUN_UNPACK = 4, 5
KIND_PIDFD, KIND_OUTPUT, KIND_LISTEN, KIND_TUN = 0, 1, 2, 3
HOLD, OPEN, KNOCK = 0, 1, 2
LISTEN_UDP = 1 << 16  # beside the port of a listener
ZRUN_SOCKETS = 7
ZRUN_SOCKETS_V6 = 1

INIT_REQUEST = struct.Struct("=IIII64s16sHH4xq192s")
INIT_REPLY = struct.Struct("=IIiI192s")
ROUTE = struct.Struct("=II64s16sHH16sHH72s")
ROUTE_OTHER = struct.Struct("=I4s")
ZRUN_REQUEST = struct.Struct("=IIII64s72s256s192s")
ZRUN_REPLY = struct.Struct("=IIiI64s256s192s")
ZPULL_REQUEST = struct.Struct("=IIII256s72s72s")
ZPULL_REPLY = struct.Struct("=IIiIQQ72s72s256s")
ZNODE_REQUEST = struct.Struct("=IIII64s")
ZNODE_REPLY = struct.Struct("=IIiIQQ256s1360x")
ZNODE_DESIRED, ZNODE_REVISION, ZNODE_WATCH = 6, 7, 8

NET_ROUTE_MAGIC = 0x7a6e3031


def address_bytes(text):
    """16 bytes; IPv4 is mapped."""
    address = ipaddress.ip_address(text)
    if address.version == 4:
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


def route(container, address, port, others=(), concurrency=0, grows=0,
          proxy_protocol=0):
    """others: (instance, address) each."""
    return ROUTE.pack(
        NET_ROUTE_MAGIC, OPEN, container.encode(), address_bytes(address),
        port, concurrency, b"", grows, proxy_protocol, b"".join(
            ROUTE_OTHER.pack(n, address_bytes(a)[12:]) for n, a in others))


def route_held(state=HOLD):
    return ROUTE.pack(NET_ROUTE_MAGIC, state, b"", bytes(16), 0, 0, b"", 0,
                      0, b"")


class Init:
    """A client of init.sock, for what znode and zrun serve do there."""

    def __init__(self, run):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(30)
        self.sock.connect(str(run / "init.sock"))

    def call(self, verb, kind, name, n, note=b"", address="::", fds=()):
        port = n & 0xffff if verb == INIT_BIND else 0
        request = INIT_REQUEST.pack(
            INIT_REQUEST.size, verb, kind, n, name.encode(),
            address_bytes(address), port, 1024, 0, note)
        socket.send_fds(self.sock, [request], list(fds))
        reply = INIT_REPLY.unpack(self.sock.recv(INIT_REPLY.size))
        if reply[2]:
            raise OSError(-reply[2], "init refused", "%s/%d" % (name, n))
        return reply[4]

    def bind(self, app, port, note, address="::"):
        self.call(INIT_BIND, KIND_LISTEN, app, port, note, address)

    def note(self, app, port, note):
        self.call(INIT_NOTE, KIND_LISTEN, app, port, note)

    def drop(self, app, port):
        self.call(INIT_DROP, KIND_LISTEN, app, port)

    def put_output(self, container, n, pipe, keep=(0, 0)):
        """`keep`: bytes of each file of its log, and how many."""
        note = bytes(192 - 8) + struct.pack("=II", *keep)
        self.call(INIT_PUT, KIND_OUTPUT, container, n, fds=[pipe], note=note)

    def output_keep(self, container, n):
        """What zlog is told to keep of it, see put_output()."""
        note = self.call(INIT_GET, KIND_OUTPUT, container, n)
        return struct.unpack("=II", note[-8:])

    def drop_output(self, container, n):
        self.call(INIT_DROP, KIND_OUTPUT, container, n)


ZNET_WATCH, ZNET_FREEZE, ZNET_THAW, ZNET_FORGET = 3, 4, 5, 6
ZNET_CLOSE, ZNET_KNOCKS, ZNET_DRAIN = 7, 8, 9
ZNET_WAKE_AT_BYTE, ZNET_FREEZE_NOW, ZNET_DRAIN_ANSWERS = 1, 2, 4
LULL, QUIET, FROZEN, BUSY, WOKEN, ANSWERED = 1, 2, 3, 4, 5, 6
CLOSED, KNOCKED, DRAINED, CROWD = 7, 8, 9, 10
BY_CONNECTION, BY_BYTE, BY_HAND = 0, 1, 2
ZNET_REQUEST = struct.Struct("=IIIII64s")
ZNET_EVENT = struct.Struct("=IIiIII64s")


class Reactor:
    """What znode is to znet; the freezers are pipes."""

    def __init__(self, run):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(30)
        self.sock.connect(str(run / "znet.sock"))

    def tell(self, verb, container, quiet_ms=0, flags=0, fds=()):
        socket.send_fds(self.sock, [ZNET_REQUEST.pack(
            ZNET_REQUEST.size, verb, 0, quiet_ms, flags,
            container.encode())], list(fds))

    def event(self):
        """(what, error, by, us, open, container)"""
        what, error, by, us, n_open, name = ZNET_EVENT.unpack(
            self.sock.recv(ZNET_EVENT.size))[1:]
        return what, error, by, us, n_open, name.rstrip(b"\0").decode()

    def until(self, what):
        """The next event that is `what`; those before are dropped."""
        while (event := self.event())[0] != what:
            pass
        return event

    def close(self):
        self.sock.close()
