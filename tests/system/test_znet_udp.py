"""Published UDP ports: datagrams of the world come into a container with their
client's address, and the answers go back from where they were sent to."""

import contextlib
import errno
import itertools
import os
import socket
import threading

import pytest

from zooid import messages
from zooid.host import DEADLINE_S, directory
from zooid.net_host import NetHost

PORT, INSIDE = 5353, 53
APP = "u%d" % os.getpid()  # there is one tree of cgroups for all that run


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path)
        host.container("a", "10.64.0.2")
        host.container("b", "10.64.0.3")
        host.init = messages.Init(host.run)
        yield host
        host.close()


names = ("n%d" % n for n in itertools.count(1))  # of new containers


def address_of(name):
    return ("10.64.4." + name[1:]) if name[1:] else {
        "a": "10.64.0.2", "b": "10.64.0.3", "c": "10.64.0.4"}[name]


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def route_to(host, name="a", port=INSIDE):
    return messages.route(host.id(name), address_of(name), port)


def gone(host, name):
    host.end(name)
    host.containers.pop(name).close()


@contextlib.contextmanager
def published(host, port=PORT, note=None, address="::", app="web"):
    n = port | messages.LISTEN_UDP

    def bound():
        try:
            host.init.bind(app, n, note or route_to(host), address)
        except OSError as e:
            # Of the test before: znet closes it when it is told.
            assert e.errno == errno.EADDRINUSE
            return False
        return True
    host.wait(bound)
    try:
        yield n
    finally:
        host.init.drop(app, n)


@contextlib.contextmanager
def service(host, name="a", port=INSIDE, family=socket.AF_INET):
    """Tells each client who it is, and what it has said."""
    sock = host.containers[name].socket(family, socket.SOCK_DGRAM)
    sock.bind(("", port))
    sock.settimeout(None)
    stop = b"stop " + os.urandom(8)

    def loop():
        while True:
            data, peer = sock.recvfrom(65536)
            if data == stop:
                return
            sock.sendto(("%s %s %d\n" % ((name,) + peer[:2])).encode() +
                        data, peer)
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield sock
    finally:
        with host.containers[name].socket(kind=socket.SOCK_DGRAM) as ender:
            ender.sendto(stop, ("127.0.0.1", port))
        thread.join(DEADLINE_S)
        sock.close()


def client_of(net, address=None, family=socket.AF_INET):
    sock = net.socket(family, socket.SOCK_DGRAM)
    if address:
        sock.bind((address, 0))
    return sock


def ask(sock, to, data=b"x"):
    """(who answered, as whom it saw us, what it heard); who answers from
    elsewhere is not heard."""
    sock.connect(to)
    sock.send(data)
    who, _, said = sock.recv(65536).partition(b"\n")
    name, address, port = who.decode().split()
    return name, (address, int(port)), said


def test_the_application_sees_the_client(host):
    with service(host), published(host), client_of(host.world) as client:
        for size in (0, 1, 1472, 20000, 60000):
            data = os.urandom(size)
            name, seen, said = ask(client, (host.NODE, PORT), data)
            assert (name, said) == ("a", data)
            assert seen == client.getsockname()
        assert "%d/udp  web" % PORT in host.status()


def test_tcp_and_udp_of_one_number(host):
    """They are two ports."""
    with service(host), published(host), client_of(host.world) as client:
        host.init.bind("web", PORT, messages.route_held())
        assert ask(client, (host.NODE, PORT))[2] == b"x"
        host.init.drop("web", PORT)
        assert ask(client, (host.NODE, PORT))[2] == b"x"


def test_ipv6_client(host):
    """Where the application listens to IPv6 too, it sees who that is."""
    with service(host, family=socket.AF_INET6), published(host), \
            client_of(host.world, family=socket.AF_INET6) as client, \
            client_of(host.world) as client4:
        for size in (0, 1, 1472, 20000, 60000):
            data = os.urandom(size)
            _, seen, said = ask(client, (host.NODE6, PORT), data)
            assert (seen, said) == (client.getsockname()[:2], data)
        _, seen, _ = ask(client4, (host.NODE, PORT))
        assert seen == ("::ffff:" + host.WORLD, client4.getsockname()[1])


def test_ipv6_client_of_who_listens_to_ipv4(host):
    """Not even the first datagram is lost; it comes from the resolver's
    address. What is too large to be quoted whole is."""
    with service(host), published(host), \
            client_of(host.world, family=socket.AF_INET6) as client, \
            client_of(host.world, family=socket.AF_INET6) as other:
        name, seen, said = ask(client, (host.NODE6, PORT), b"six")
        assert (seen[0], said) == (host.RESOLVER, b"six")
        data = os.urandom(60000)
        for sock in client, other:
            assert ask(sock, (host.NODE6, PORT), data)[2] == data


def test_ipv6_is_switched_off_inside(host):
    """Then nobody is led there by it."""
    host.container("c", "10.64.0.4", sysctl={
        "net.ipv6.conf.all.disable_ipv6": "1"})
    with service(host, "c"), published(host, note=route_to(host, "c")), \
            client_of(host.world, family=socket.AF_INET6) as client:
        _, seen, said = ask(client, (host.NODE6, PORT), b"six")
        assert (seen[0], said) == (host.RESOLVER, b"six")
    gone(host, "c")


@pytest.mark.parametrize("address, listens, seen", [
    ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
    ("127.0.0.1", socket.AF_INET6, "::ffff:127.0.0.1"),
    ("127.8.9.1", socket.AF_INET, "127.8.9.1"),
    ("::1", socket.AF_INET6, "::1"),
    ("::1", socket.AF_INET, "127.0.0.1")])
def test_client_on_the_node(host, address, listens, seen):
    """Is seen as what he is, with his port; not even the first datagrams are
    lost. By IPv6 where the application listens to that."""
    name = next(names)
    host.container(name, address_of(name))
    with contextlib.ExitStack() as stack:
        stack.callback(gone, host, name)
        stack.enter_context(service(host, name, family=listens))
        stack.enter_context(published(host, note=route_to(host, name)))
        clients = [stack.enter_context(client_of(
            host.node, address, family_of(address))) for _ in range(40)]
        for client in clients:
            client.connect((address, PORT))
            for n in range(3):
                client.send(b"%d" % n)
        for client in clients:
            for n in range(3):
                assert client.recv(100) == b"%s %s %d\n%d" % (
                    name.encode(), seen.encode(), client.getsockname()[1], n)
        for size in (0, 1472, 60000):
            data = os.urandom(size)
            assert ask(clients[0], (address, PORT), data)[2] == data


def test_port_of_a_client_on_the_node_is_taken_inside(host):
    """He comes from another one."""
    with service(host) as sock, published(host), \
            client_of(host.node, "127.0.0.1") as client, \
            host.containers["a"].socket(kind=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", client.getsockname()[1]))
        _, seen, said = ask(client, ("127.0.0.1", PORT), b"own")
        assert (seen[0], said) == ("127.0.0.1", b"own")
        assert seen[1] != client.getsockname()[1]
        # Who has not been asked is not heard.
        with host.containers["a"].socket(kind=socket.SOCK_DGRAM) as other:
            other.sendto(b"unasked", seen)
            sock.sendto(b"asked", seen)
            assert client.recv(100) == b"asked"


def test_clients_on_the_node_without_end(host):
    """1,024 descriptors are not room for 3,000 of them; the oldest are
    forgotten, and others have theirs."""
    with service(host), published(host), client_of(host.world) as world:
        for port in range(20000, 23000):
            with host.node.socket(kind=socket.SOCK_DGRAM) as client:
                client.bind(("127.0.0.1", port))
                client.sendto(b"", ("127.0.0.1", PORT))
                if port % 20 == 0:
                    client.settimeout(5)
                    assert client.recv(100).startswith(b"a 127.0.0.1 ")
        assert ask(world, (host.NODE, PORT))[1] == world.getsockname()
        there = host.world.listen(host.WORLD, 0)
        with there, host.containers["b"].connect(*there.getsockname()):
            pass


def test_link_local_client(host):
    """His address means nothing in a container: he comes from the
    resolver's, by IPv6 too where the application listens to that."""
    own, scope = host.world.link_local("world0")
    node, _ = host.node.link_local("node0")
    for family, seen in ((socket.AF_INET6, "fd7a:6f6f:6964::a40:1"),
                         (socket.AF_INET, host.RESOLVER)):
        name = next(names)
        host.container(name, address_of(name))
        with service(host, name, family=family), \
                published(host, note=route_to(host, name)), \
                client_of(host.world, family=socket.AF_INET6) as client:
            client.bind((own, 0, 0, scope))
            assert ask(client, (node, PORT, 0, scope))[1:] == (
                (seen, client.getsockname()[1]), b"x")
        gone(host, name)


def test_answers_come_from_where_was_asked(host):
    """Of several addresses of a node; the client's socket takes no other."""
    second = "192.0.2.77"
    host.node.sh("ip address add %s/24 dev node0" % second)
    with service(host), published(host), client_of(host.world) as client:
        assert ask(client, (second, PORT))[2] == b"x"
        assert ask(client, (host.NODE, PORT))[2] == b"x"
        assert ask(client, (second, PORT))[2] == b"x"
    host.node.sh("ip address del %s/24 dev node0" % second)


def test_one_port_of_a_client_to_two_published_ports(host):
    """Both lead to one port inside: the answers must not be mixed up."""
    with service(host), published(host), published(host, PORT + 1), \
            client_of(host.world) as client:
        client.bind((host.WORLD, 0))
        one, other = (host.NODE, PORT), (host.NODE, PORT + 1)
        for _ in range(3):
            for to in one, other:
                client.sendto(b"to %d" % to[1], to)
                data, peer = client.recvfrom(65536)
                assert peer == to
                assert data.endswith(b"\nto %d" % to[1])


def test_address_of_the_node(host):
    second = "192.0.2.77"
    host.node.sh("ip address add %s/24 dev node0" % second)
    with service(host), published(host, address=second), \
            client_of(host.world) as client:
        assert ask(client, (second, PORT))[2] == b"x"
        with pytest.raises(ConnectionRefusedError):
            ask(client, (host.NODE, PORT))
    host.node.sh("ip address del %s/24 dev node0" % second)


def test_held_route(host):
    """What comes while nothing runs waits, and is led to who comes."""
    with service(host, "b"), client_of(host.world) as client, \
            published(host, note=messages.route_held()) as n:
        client.connect((host.NODE, PORT))
        client.send(b"early")
        host.init.note("web", n, route_to(host, "b"))
        assert client.recv(100).startswith(b"b ")


def test_route_leads_elsewhere(host):
    with service(host), service(host, "b"), client_of(host.world) as client, \
            published(host) as n:
        assert ask(client, (host.NODE, PORT))[0] == "a"
        host.init.note("web", n, route_to(host, "b"))

        def moved():
            # An answer that is on its way meanwhile is lost.
            with contextlib.suppress(TimeoutError):
                return ask(client, (host.NODE, PORT))[0] == "b"
        client.settimeout(0.5)
        host.wait(moved)


def test_others_are_not_answered(host):
    """Only who has sent is sent to from the published port."""
    with service(host) as sock, published(host), \
            client_of(host.world) as client, client_of(host.world) as other:
        other.bind((host.WORLD, 0))
        ask(client, (host.NODE, PORT))
        sock.sendto(b"unasked", other.getsockname())
        data, peer = other.recvfrom(100)
        assert data == b"unasked" and peer[1] != PORT


@contextlib.contextmanager
def several(host, n=3):
    """Instances of one service, as znode names them."""
    ids = ["%s-%d" % (APP, i + 1) for i in range(n)]
    addresses = ["10.64.2.%d" % (i + 1) for i in range(n)]
    with contextlib.ExitStack() as stack:
        for id, address in zip(ids, addresses):
            host.container(id, address, id=id)
            stack.callback(host.containers[id].close)
            stack.callback(host.containers.pop, id)
            stack.callback(host.end, id, id)
            stack.enter_context(service(host, id))
        yield ids, addresses


def route_of(ids, addresses, concurrency=1):
    return messages.route(
        ids[0], addresses[0], INSIDE, concurrency=concurrency,
        others=[(int(id.split("-")[1]), address)
                for id, address in zip(ids[1:], addresses[1:])])


def test_several_instances(host):
    """Each flow keeps its own, whatever comes beside it; the first that has
    room gets the next."""
    with several(host) as (ids, addresses), contextlib.ExitStack() as stack, \
            published(host, note=route_of(ids, addresses), app=APP) as n:
        def new():
            return stack.enter_context(client_of(host.world))

        def told():
            return [ask(c, (host.NODE, PORT))[0] for c in clients]
        clients = [new() for _ in range(6)]
        before = told()
        assert before == 2 * ids
        for _ in range(3):
            assert told() == before
        # One is taken out: only its own are led elsewhere. Which of them is
        # asked first after znet has heard of it is chance.
        host.init.note(APP, n, route_of(ids[:2], addresses[:2]))
        host.wait(lambda: ids[2] not in told())
        moved = [a for a in zip(before, told()) if a[0] != a[1]]
        assert sorted(moved) == [(ids[2], ids[0]), (ids[2], ids[1])]
        # It comes back: only who is new is led to it.
        before = told()
        host.init.note(APP, n, route_of(ids, addresses))
        host.wait(lambda: ask(new(), (host.NODE, PORT))[0] == ids[2])
        assert told() == before


def answered(host, port):
    """A new client is, sooner or later: a flood fills queues too."""
    def heard():
        with client_of(host.world) as client:
            client.settimeout(0.5)
            try:
                return ask(client, (host.NODE, port))[2] == b"x"
            except TimeoutError:
                return False
    host.wait(heard)


def test_flood_of_sources(host):
    """It costs the listener its oldest clients; another one keeps those that
    it has, and one that has none has room for some."""
    with service(host) as sock, published(host), published(host, PORT + 1), \
            published(host, PORT + 2), \
            client_of(host.world) as client, client_of(host.world) as pace:
        _, seen, _ = ask(client, (host.NODE, PORT + 1))
        for port in range(10000, 16000):
            with host.world.socket(kind=socket.SOCK_DGRAM) as source:
                source.bind((host.WORLD, port))
                source.sendto(b"", (host.NODE, PORT))
            if port % 50 == 0:  # so that none is lost in a queue
                ask(pace, (host.NODE, PORT))
        sock.sendto(b"still known", seen)
        assert client.recv(100) == b"still known"
        answered(host, PORT + 2)
        answered(host, PORT)
