"""All states at once, in random order, under every kind of client: what the
services have counted is what was answered, each once. Policies change while
they are obeyed; in the end also while znode and zrun are killed."""

import random
import re
import socket
import subprocess
import threading
import time

import pytest

from zooid import FULL
from zooid.host import free_port
from zooid.react_host import (AUDIT, COUNT, MESSAGE, Client,
                              react_host_in_directory)

REQUESTS = 1000000 if FULL else 100000
CHANGES = 10000 if FULL else 1000
ASKERS = 2  # of a service
NUMBERS = 1 << 21  # of an asker: more than it will need; audited.c counts 2^22
# A process that ends says what it has counted; what is on disk only cannot, so
# who sleeps never goes on to what forgets it.
LIVELY = [
    {"freeze_after_ms": 100},
    {"freeze_after_ms": 100, "wake": "byte"},
    {"image_after_ms": 100},
    {"freeze_after_ms": 300, "lifetime_ms": 1000},
    {"freeze_after_ms": 100, "concurrency": 1, "max": 3},
    {"freeze_after_ms": 100, "concurrency": 1, "max": 2, "lifetime_ms": 1500},
]
SLEEPY = [
    {"freeze_after_ms": 100},
    {"freeze_after_ms": 100, "sleep_after_ms": 100},
    {"freeze_after_ms": 100, "sleep_after_ms": 100, "wake": "byte"},
    {"freeze_after_ms": 100, "sleep_after_ms": 200},
]


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


class Asker(threading.Thread):
    """Asks one service, in every way in which one can, until it has all its
    answers."""

    def __init__(self, service, port, numbers, seed):
        super().__init__(daemon=True)
        self.service, self.port, self.how = service, port, None
        self.rng = random.Random(seed)
        self.numbers, self.enough = iter(numbers), False
        self.answered, self.error = 0, None

    def run(self):
        try:
            while self._one_client():
                if self.rng.random() < 0.5:
                    time.sleep(self.rng.uniform(0.1, 0.4))
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _one_client(self):
        client = Client(self.port)
        self.how = self.rng.choice([
            self.once, self.at_once, self.kept, self.kept, self.half_closed,
            self.slow, self.long])
        try:
            return self.how(client)
        finally:
            client.close()

    def number(self):
        return None if self.enough else next(self.numbers)

    def take(self, client, number):
        assert client.answer()[1] == number
        self.answered += 1

    def ask(self, client, arg=0):
        number = self.number()
        if number is None:
            return False
        client.send(COUNT, number, arg)
        self.take(client, number)
        return True

    once = ask

    def at_once(self, client):
        """Sent before the first is answered."""
        numbers = [n for n in (self.number() for _ in range(8))
                   if n is not None]
        for number in numbers:
            client.send(COUNT, number)
        for number in numbers:
            self.take(client, number)
        return len(numbers) == 8

    def kept(self, client):
        for _ in range(self.rng.randrange(10, 400)):
            if not self.ask(client):
                return False
            if self.rng.random() < 0.005:
                time.sleep(self.rng.uniform(0.05, 0.4))
        return True

    def half_closed(self, client):
        number = self.number()
        if number is None:
            return False
        client.send(COUNT, number)
        client.sock.shutdown(socket.SHUT_WR)
        self.take(client, number)
        assert client.sock.recv(1) == b""
        return True

    def slow(self, client):
        """The request in two halves, long after each other."""
        number = self.number()
        if number is None:
            return False
        data = MESSAGE.pack(COUNT, 0, number)
        client.sock.sendall(data[:5])
        time.sleep(self.rng.uniform(0, 0.2))
        client.sock.sendall(data[5:])
        self.take(client, number)
        return True

    def long(self, client):
        return self.ask(client, self.rng.randrange(1, 300000))


def ended(host, name):
    """What each instance of a service that has ended had counted."""
    said = subprocess.run(
        [host.bin / "zlog", "tail", "-n", "10000", host.name(name)],
        env=host.env, capture_output=True, text=True, timeout=60,
        check=True).stdout
    return [int(n) for n in re.findall(r"counted (\d+)\n", said)]


class Colony:
    """The services, their askers and their changing policies."""

    def __init__(self, host, rng):
        self.host, self.rng, self.woken = host, rng, 0
        self.ports = {name: free_port() for name in (
            "l0", "l1", "l2", "l3", "s0", "s1", "s2", "s3")}
        self.change()
        self.askers = {
            name: [Asker(name, port, range(i * NUMBERS, (i + 1) * NUMBERS),
                         rng.random())
                   for i in range(ASKERS)]
            for name, port in self.ports.items()}

    def change(self):
        """Another policy for each."""
        self.host.apply(*(
            self.host.service(name, port, reactive=self.rng.choice(
                LIVELY if name[0] == "l" else SLEEPY))
            for name, port in self.ports.items()))

    def changes(self):
        """A wake comes after a freeze, a sleep or an end: two changes. znode
        counts since it was started, so this is the least."""
        self.woken = max(self.woken, sum(
            row["wakes"] for row in map(self.host.row, self.ports) if row))
        return 2 * self.woken

    def run(self, disturb):
        askers = [a for some in self.askers.values() for a in some]
        for asker in askers:
            asker.start()
        while not all(asker.enough for asker in askers):
            time.sleep(self.rng.uniform(0.3, 2))
            self.change()
            disturb()
            enough = sum(asker.answered for asker in askers) >= REQUESTS and \
                self.changes() >= CHANGES
            # With the first that is lost it ends: what led there is said last.
            enough |= not all(asker.is_alive() for asker in askers)
            for asker in askers:
                asker.enough = enough
        for asker in askers:
            asker.join()
        lost = [(a.service, a.how.__name__, a.answered, a.error)
                for a in askers if a.error]
        assert not lost, "%s\n%s" % (lost, self.said_of(lost))

    def said_of(self, lost):
        names = [self.host.name(service) for service, *_ in lost]
        return "\n".join(line for line in self.host.said().splitlines()
                         if any(name in line for name in names)
                         or "init:" in line)[-8000:]

    def answered(self, name):
        return sum(asker.answered for asker in self.askers[name])


def audit(colony, name):
    """That the instances of a lively service have counted what was answered."""
    answered = colony.answered(name)
    colony.host.znode("stop", colony.host.name(name))
    colony.host.wait(lambda: sum(ended(colony.host, name)) >= answered)
    assert sum(ended(colony.host, name)) == answered, name


@pytest.mark.deadline(7200 if FULL else 400)
def test_no_request_is_lost(host, rng):
    colony = Colony(host, rng)
    colony.run(lambda: None)
    for name, port in colony.ports.items():
        if name[0] == "l":
            audit(colony, name)
            continue
        # One process from the beginning, wherever it was meanwhile.
        client = Client(port)
        assert client.ask(AUDIT, ASKERS * NUMBERS) == \
            (0, colony.answered(name)), name
        client.close()


@pytest.mark.deadline(7200 if FULL else 400)
def test_no_request_is_lost_when_daemons_die(host, rng):
    """Of what sleeps nothing is known after a colder start, so only the others
    are audited; but all are answered."""
    colony = Colony(host, rng)
    # init waits longer each time before it starts one again.
    deaths = ["znode", "zrun"] * 4
    rng.shuffle(deaths)

    def disturb():
        if deaths:
            host.kill(deaths.pop())
    colony.run(disturb)
    assert not deaths
    for name in colony.ports:
        if name[0] == "l":
            audit(colony, name)
