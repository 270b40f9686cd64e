"""Daemons die; containers and new clients do not notice."""

import signal
import socket

import pytest

from zooid import medium, web
from zooid.agent import PROGRAM

PORT = medium.WEB_PORT
SERVICES = ["znode", "znet", "zlog", "zrun"]
# A download through znet breaks with it; nothing else may break one.
BREAKS_DOWNLOADS = {"znet"}


class Download:
    """A client that reads an endless answer, piece by piece."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.sendall(b"GET /cgi-bin/ticks HTTP/1.0\r\n\r\n")
        self.more()

    def more(self):
        """Waits for the next piece; False when the connection has ended."""
        try:
            return bool(self.sock.recv(4096))
        except ConnectionResetError:
            return False


def service_pid(node, name):
    return node.agent.pids_of("service/" + name)[0]


def wait_again(node, name, old):
    """Until init has started `name` anew and it is ready."""
    ready = node.wait_console(
        "status", r"^%s +ready +(?!%d )(\d+) +\d+ " % (name, old))
    assert service_pid(node, name) == int(ready[1])


@pytest.mark.parametrize("name", SERVICES)
def test_sigkill(node, name):
    """While it is dead, and when it is back."""
    started = node.fetch(PORT, "/cgi-bin/started")
    download = Download(node.port(PORT))
    old = service_pid(node, name)
    node.agent.ask("break", PROGRAM[name])
    node.agent.kill(old, signal.SIGKILL)
    if name != "znet":  # see below
        for _ in range(3):
            assert node.fetch(PORT) == web.PAGE
    node.agent.ask("mend", PROGRAM[name])
    wait_again(node, name, old)
    assert node.fetch(PORT) == web.PAGE
    assert node.fetch(PORT, "/cgi-bin/started") == started
    for _ in range(5):
        if not download.more():
            assert name in BREAKS_DOWNLOADS
            break
    assert "web" in node.console("ps")


def test_connects_while_znet_is_dead(node):
    """No connection is refused: the client waits in init's listen queue."""
    node.agent.ask("break", PROGRAM["znet"])
    node.agent.kill(service_pid(node, "znet"))
    sock = socket.create_connection(("127.0.0.1", node.port(PORT)), timeout=60)
    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
    node.agent.ask("mend", PROGRAM["znet"])
    answer = b""
    while part := sock.recv(4096):
        answer += part
    assert answer.endswith(web.PAGE.encode())


def test_all_at_once(node):
    started = node.fetch(PORT, "/cgi-bin/started")
    pids = {name: service_pid(node, name) for name in SERVICES}
    for pid in pids.values():
        node.agent.kill(pid)
    for name, pid in pids.items():
        wait_again(node, name, pid)
    assert node.fetch(PORT) == web.PAGE
    assert node.fetch(PORT, "/cgi-bin/started") == started
