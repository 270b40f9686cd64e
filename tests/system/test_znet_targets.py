"""Several containers behind one port: whom znet leads a connection to, and when
it says that they have too much to do. With a test in the place of znode."""

import pytest

from test_znet import Host, read_line
from zooid.host import directory, free_port
from zooid.messages import CROWD, ZNET_DRAIN, ZNET_KNOCKS, Reactor, route
from zooid.namespace import Namespace

PORT = 7000  # inside


class Worker:
    """A container that says its name, and then answers only when told."""

    def __init__(self, name):
        self.name, self.net = name, Namespace()
        self.asked = []

    def listen(self):
        self.net.serve(PORT, self._serve)

    def _serve(self, connection, _):
        connection.sendall(self.name.encode() + b"\n")
        while data := connection.recv(1):
            self.asked.append((connection, data))

    def answer(self):
        for connection, data in self.asked:
            connection.sendall(data)
        self.asked.clear()


@pytest.fixture
def host():
    with directory() as path:
        made = Host(path)
        made.workers = [Worker("web-%d" % i) for i in (1, 2, 3)]
        made.maker.namespaces.update({w.name: w.net for w in made.workers})
        made.reactor = Reactor(made.run)
        made.reactor.tell(ZNET_KNOCKS, "")
        made.port = free_port()
        yield made
        made.reactor.close()
        made.close()
        for worker in made.workers:
            worker.net.close()


def lead(host, n, **options):
    """Publishes, or leads to so many of them."""
    note = route("web-1", Namespace.V4, PORT,
                 others=[(i, Namespace.V4) for i in range(2, n + 1)],
                 **options)
    try:
        host.init.note("web", host.port, note)
    except OSError:
        host.init.bind("web", host.port, note)


def asked(host):
    """A connection that was led somewhere and waits for its answer, and who
    that is."""
    sock = host.connect(host.port)
    name = read_line(sock)
    worker = next(w for w in host.workers if w.name == name)
    before = len(worker.asked)
    sock.sendall(b"x")
    host.wait(lambda: len(worker.asked) > before)
    return sock, name


def names(host, n):
    """Of so many connections that wait for answers, one after the other."""
    socks, found = zip(*[asked(host) for _ in range(n)])
    for worker in host.workers:
        worker.answer()
    for sock in socks:
        assert sock.recv(1) == b"x"
        sock.close()
    return list(found)


def lead_known(host, n, **options):
    """As lead(), until all of them have been led to: znet waits for none whose
    sockets are still on their way."""
    lead(host, n, **options)
    every = {worker.name for worker in host.workers[:n]}
    host.wait(lambda: set(names(host, n * options["concurrency"])) == every)


def test_the_first_that_has_room(host):
    """Then the next one; the one with the least where none has."""
    for worker in host.workers:
        worker.listen()
    lead_known(host, 3, concurrency=2)
    assert names(host, 8) == ["web-1"] * 2 + ["web-2"] * 2 + \
        ["web-3"] * 2 + ["web-1", "web-2"]
    # All were answered: from the beginning again.
    assert names(host, 3) == ["web-1"] * 2 + ["web-2"]


def test_who_does_not_listen_yet(host):
    """Costs nobody an error, nor time; it is led to once it listens."""
    host.workers[0].listen()
    lead(host, 2, concurrency=1)
    assert names(host, 4) == ["web-1"] * 4
    host.workers[1].listen()
    host.wait(lambda: "web-2" in names(host, 2))


def test_who_is_not_told_of_any_more(host):
    """Open connections stay, new ones go elsewhere; and so while it drains,
    whatever the route says."""
    for worker in host.workers:
        worker.listen()
    lead_known(host, 2, concurrency=1)
    one, two = asked(host), asked(host)
    assert (one[1], two[1]) == ("web-1", "web-2")
    lead(host, 1, concurrency=1)
    three = asked(host)
    assert three[1] == "web-1"
    lead(host, 3, concurrency=1)
    # Until znet has heard of it there is nothing to drain.
    host.wait(lambda: "web-3" in names(host, 3))
    host.reactor.tell(ZNET_DRAIN, "web-3")
    host.wait(lambda: "web-3" not in names(host, 3))
    for sock, _ in (one, two, three):
        assert sock.recv(1) == b"x"


def test_crowded(host):
    """Told once, when all have more than they may; anew for another route, and
    once they had less; not where the route does not ask for it."""
    for worker in host.workers:
        worker.listen()
    lead(host, 1, concurrency=2)
    names(host, 3)
    lead(host, 1, concurrency=2, grows=1)
    kept = [asked(host) for _ in range(2)]
    kept += [asked(host) for _ in range(3)]
    assert host.reactor.event()[::5] == (CROWD, "web")
    lead(host, 2, concurrency=2, grows=1)
    assert host.reactor.event()[::5] == (CROWD, "web")  # five are still more
    lead(host, 3, concurrency=2, grows=1)
    kept += [asked(host)]
    for worker in host.workers:
        worker.answer()
    for sock, _ in kept:
        assert sock.recv(1) == b"x"
    kept += [asked(host) for _ in range(7)]
    assert host.reactor.event()[::5] == (CROWD, "web")
    # Another znode is told too.
    host.reactor.close()
    host.reactor = Reactor(host.run)
    host.reactor.tell(ZNET_KNOCKS, "")
    assert host.reactor.event()[::5] == (CROWD, "web")
    host.reactor.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        host.reactor.event()
