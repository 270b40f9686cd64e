"""Messages between our programs, as their headers declare them: init/init.h,
runtime/zrun/serve.h, runtime/image/zpull/zpull.h, runtime/node/znode.h,
runtime/net/route.h."""

import ipaddress
import socket
import struct

INIT_PUT, INIT_BIND, INIT_NOTE, INIT_DROP = 1, 2, 3, 5
ZRUN_START, ZRUN_KILL, ZRUN_DELETE, ZRUN_UNPACK = 1, 2, 3, 5
KIND_OUTPUT, KIND_LISTEN = 1, 2
HOLD, OPEN = 0, 1
ZRUN_SOCKETS = 7
ZRUN_SOCKETS_V6 = 1

INIT_REQUEST = struct.Struct("=IIII64s16sHH4xq192s")
INIT_REPLY = struct.Struct("=IIiI192s")
ROUTE = struct.Struct("=II64s16sHH")
ZRUN_REQUEST = struct.Struct("=IIII64s72s256s192s")
ZRUN_REPLY = struct.Struct("=IIiI64s256s")
ZPULL_REQUEST = struct.Struct("=IIII256s72s72s")
ZPULL_REPLY = struct.Struct("=IIiIQQ72s72s256s")
ZNODE_REQUEST = struct.Struct("=IIII64s")
ZNODE_REPLY = struct.Struct("=IIiIQQ256s1072x")
ZNODE_DESIRED, ZNODE_REVISION, ZNODE_WATCH = 6, 7, 8

NET_ROUTE_MAGIC = 0x7a6e3031


def address_bytes(text):
    """16 bytes; IPv4 is mapped."""
    address = ipaddress.ip_address(text)
    if address.version == 4:
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


def route(container, address, port):
    return ROUTE.pack(NET_ROUTE_MAGIC, OPEN, container.encode(),
                      address_bytes(address), port, 0)


def route_held():
    return ROUTE.pack(NET_ROUTE_MAGIC, HOLD, b"", bytes(16), 0, 0)


class Init:
    """A client of init.sock, for what znode and zrun serve do there."""

    def __init__(self, run):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(30)
        self.sock.connect(str(run / "init.sock"))

    def call(self, verb, kind, name, n, note=b"", address="::", fds=()):
        port = n if verb == INIT_BIND else 0
        request = INIT_REQUEST.pack(
            INIT_REQUEST.size, verb, kind, n, name.encode(),
            address_bytes(address), port, 1024, 0, note)
        socket.send_fds(self.sock, [request], list(fds))
        error = INIT_REPLY.unpack(self.sock.recv(INIT_REPLY.size))[2]
        if error:
            raise OSError(-error, "init refused", "%s/%d" % (name, n))

    def bind(self, app, port, note, address="::"):
        self.call(INIT_BIND, KIND_LISTEN, app, port, note, address)

    def note(self, app, port, note):
        self.call(INIT_NOTE, KIND_LISTEN, app, port, note)

    def drop(self, app, port):
        self.call(INIT_DROP, KIND_LISTEN, app, port)

    def put_output(self, container, n, pipe):
        self.call(INIT_PUT, KIND_OUTPUT, container, n, fds=[pipe])

    def drop_output(self, container, n):
        self.call(INIT_DROP, KIND_OUTPUT, container, n)
