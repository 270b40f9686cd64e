"""Many connections at a time, both ends in processes of their own: a test's
has not the descriptors.

    crowd.py serve ADDRESS PORT             repeats what comes, on each
    crowd.py connect ADDRESS PORT N         opens N, then obeys stdin:
        ask K    a byte there and back, K times over all of them in turn
        close
    crowd.py storm ADDRESS PORT N           begins N and waits for none"""

import resource
import select
import socket
import subprocess
import sys

from zooid import process

DEADLINE_S = 60


class Crowd:
    """One of either in network `net`."""

    def __init__(self, net, *words):
        self._process = process.start(
            net.command(sys.executable, "-m", "zooid.crowd",
                        *map(str, words)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=__file__.rsplit("/", 2)[0])
        self._wait()

    def _wait(self):
        ready, _, _ = select.select([self._process.stdout], [], [],
                                    DEADLINE_S)
        assert ready, "a crowd does not get on"
        said = self._process.stdout.readline()
        assert said == "done\n", said

    def tell(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        self._wait()

    def close(self):
        process.end(self._process)
        self._process.stdin.close()
        self._process.stdout.close()


def done():
    print("done", flush=True)


def serve(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, int(port)), family=family,
                                    backlog=4096)
    listener.setblocking(False)
    poll, open_ = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    done()
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                open_[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                data = open_[fd].recv(65536)
                open_[fd].sendall(data)
            except OSError:
                data = b""
            if not data:
                open_.pop(fd).close()


def connect(address, port, n):
    socks = []
    for _ in range(int(n)):
        sock = socket.create_connection((address, int(port)), DEADLINE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks.append(sock)
    done()
    for line in sys.stdin:
        verb, *words = line.split()
        if verb == "ask":
            for i in range(int(words[0])):
                sock = socks[i % len(socks)]
                sock.sendall(b"?")
                assert sock.recv(1) == b"?"
        else:
            while socks:
                socks.pop().close()
        done()


def storm(address, port, n):
    socks = []
    for _ in range(int(n)):
        socks.append(socket.socket())
        socks[-1].setblocking(False)
        socks[-1].connect_ex((address, int(port)))
    done()
    sys.stdin.read()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    {"serve": serve, "connect": connect,
     "storm": storm}[sys.argv[1]](*sys.argv[2:])
