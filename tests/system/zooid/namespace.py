"""A network namespace like that of a container, and sockets inside it."""

import contextlib
import ctypes
import os
import socket
import subprocess
import threading

from . import messages, process

CLONE_NEWNET = 0x40000000
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
MARK = 1
_libc = ctypes.CDLL(None, use_errno=True)

# What a namespace needs so that a client's address may be used inside.
SET_UP = """
set -e
ip link set lo up
ip address add 10.64.0.2/32 dev lo
ip -6 address add fd00::2/128 dev lo nodad
ip rule add fwmark 1 lookup 100
ip route add local default dev lo table 100
ip -6 rule add fwmark 1 lookup 100
ip -6 route add local default dev lo table 100
echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept
echo 1 >/proc/sys/net/ipv4/fwmark_reflect
echo 1 >/proc/sys/net/ipv6/fwmark_reflect
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/lo/rp_filter
echo ready
exec sleep infinity
"""


@contextlib.contextmanager
def entered(inside, outside):
    """This thread is in the namespace `inside`, for as long as it takes to
    make a socket."""
    assert _libc.setns(inside, CLONE_NEWNET) == 0
    try:
        yield
    finally:
        assert _libc.setns(outside, CLONE_NEWNET) == 0


class Namespace:
    V4, V6 = "10.64.0.2", "fd00::2"

    def __init__(self):
        self._holder = process.start(["unshare", "-n", "sh", "-c", SET_UP],
                                     stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"ready\n"
        self._inside = os.open("/proc/%d/ns/net" % self._holder.pid,
                               os.O_RDONLY)
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def entered(self):
        return entered(self._inside, self._outside)

    def socket(self, family):
        with self.entered():
            return socket.socket(family, socket.SOCK_STREAM)

    def transparent(self, v6):
        sock = self.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        return sock

    def serve(self, port, handler, v6=False):
        """handler(connection, address) in a thread for each client."""
        listener = self.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        listener.listen(1024)

        def loop():
            while True:
                try:
                    connection, address = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_handle, daemon=True,
                                 args=(handler, connection, address)).start()
        threading.Thread(target=loop, daemon=True).start()
        return listener

    def close(self):
        process.end(self._holder)
        os.close(self._inside)
        os.close(self._outside)


def _handle(handler, connection, address):
    with connection, contextlib.suppress(OSError):
        handler(connection, address)


class SocketMaker:
    """Hands out sockets of namespaces on zrun.sock, for tests on machines
    where zrun serve has no cgroup controllers to make containers with."""

    def __init__(self, run, namespaces):
        self.namespaces = namespaces
        self.clients = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(run / "zrun.sock"))
        (run / "zrun.sock").chmod(0o666)
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.clients.append(client)
            threading.Thread(target=self._answer, args=(client,),
                             daemon=True).start()

    def _answer(self, client):
        with contextlib.suppress(OSError):
            while request := client.recv(4096):
                _, verb, count, flags, name, *_ = \
                    messages.ZRUN_REQUEST.unpack(request)
                assert verb == messages.ZRUN_SOCKETS
                space = self.namespaces.get(name.rstrip(b"\0").decode())
                made = [space.transparent(flags & messages.ZRUN_SOCKETS_V6)
                        for _ in range(count if space else 0)]
                reply = messages.ZRUN_REPLY.pack(
                    messages.ZRUN_REPLY.size, verb, 0 if space else -2, 0,
                    name, b"" if space else b"no such container", b"")
                socket.send_fds(client, [reply], [s.fileno() for s in made])
                for sock in made:
                    sock.close()

    def disconnect(self):
        """As when zrun serve is replaced."""
        for client in self.clients:
            client.shutdown(socket.SHUT_RDWR)
        self.clients.clear()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in self.clients:
            client.close()
