"""A node on this machine that reacts: init, zrun serve, znet and znode, and
services that keep account of what they were asked (audited.c)."""

import json
import os
import shutil
import socket
import struct
import subprocess

from . import image
from .build import product
from .host import BIN, DEADLINE_S, directory, free_port
from .messages import ZNODE_DESIRED
from .net_host import UID_ZNET
from .organism import Organism
from .znode_host import HERE, UID_ZNODE, Host

UID_ZLOG = 101
NODE = "n-0123456789abcd"
MESSAGE = struct.Struct("=IIQ")
COUNT, AUDIT, BURN, FILL = 1, 2, 3, 4
PORT = 8080  # inside


def audited():
    """The layout of an image with the program."""
    program = product(os.uname().machine, "tests/audited").read_bytes()
    return image.make("audited", {"bin/audited": (0o755, program)}, [
        "--config.cmd", "/bin/audited", "--config.cmd", str(PORT)])


class Client:
    """A connection to a service."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, op, number=0, arg=0):
        """(arg, number) of the answer."""
        self.send(op, number, arg)
        return self.answer()

    def send(self, op, number=0, arg=0):
        self.sock.sendall(MESSAGE.pack(op, arg, number))

    def answer(self):
        data = self.sock.recv(MESSAGE.size, socket.MSG_WAITALL)
        if len(data) < MESSAGE.size:
            raise ConnectionResetError("%d bytes of an answer" % len(data))
        return MESSAGE.unpack(data)[1:]

    def close(self):
        self.sock.close()


class ReactHost(Host):
    def __init__(self, path, organism, bin=BIN, criu=None):
        super().__init__(path)
        self.bin = bin
        self.organism = Organism(organism)
        self.chain = self.organism.chain(NODE).encode()
        layout = audited()
        index = json.loads((layout / "index.json").read_text())
        self.digest = index["manifests"][0]["digest"]
        (self.registry / self.digest[7:]).symlink_to(layout)
        self.revision = 0
        self.write()
        (self.data / "logs").mkdir()
        os.chown(self.data / "logs", UID_ZLOG, UID_ZLOG)
        self.services = (
            "zlog kmsg uid=%d mode=0666 files=4096 : %s" % (UID_ZLOG, bin / "zlog"),
            "zrun kmsg mode=0666 files=65536 : %s --criu %s serve" % (
                product(os.uname().machine, "bin/zrun"),
                criu or product(os.uname().machine, "pkg/criu/bin/criu")),
            "zpull mode=0666 : /usr/bin/python3 %s %s" %
            (HERE / "zpull_peer.py", self.peer),
            "znet kmsg uid=%d mode=0666 files=262144 needs=zrun : %s" %
            (UID_ZNET, bin / "znet"),
            "znode kmsg uid=%d mode=0666 files=4096 needs=zrun : %s" %
            (UID_ZNODE, bin / "znode"))
        self.supervise(*self.services)

    def reboot(self):
        """All ends, and /run is empty then."""
        self.stop()
        for entry in self.run.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self.supervise(*self.services)

    @staticmethod
    def name(name):
        """There is one tree of cgroups for all that run on this machine."""
        return "%s-%d" % (name, os.getpid())

    def service(self, name, port=None, **changes):
        ports = [{"host": port or free_port(), "container": PORT}]
        return {"name": self.name(name), "image": "hub/audited",
                "digest": self.digest, "restart": "always", "ports": ports,
                "origin": {"application": "shop"}, **changes}

    def apply(self, *services):
        self.revision += 1
        document = {"node": NODE, "name": "n1", "epoch": 1,
                    "revision": self.revision, "registry": "hub",
                    "apps": list(services)}
        error, _, text = self.ask(
            ZNODE_DESIRED, self.organism.envelope(document), self.chain)
        assert error == 0, text

    def row(self, name):
        return self.app(self.name(name))

    def wait_row(self, name, **wanted):
        """Until the row has these values."""
        def is_so():
            row = self.row(name)
            return row and all(row[key] == value
                               for key, value in wanted.items())
        self.wait(is_so)
        return self.row(name)

    def wait_alive(self, name):
        """Until it was started; it may be frozen by then."""
        self.wait(lambda: self.row(name) and self.row(name)["pid"])
        return self.row(name)

    def freezer(self, name):
        """What the kernel says: whether its cgroup is to be frozen."""
        link = self.run / "cgroups" / self.row(name)["container"]
        return (link / "cgroup.freeze").read_text().strip() == "1"

    def logs(self, name):
        """The last of what its instances wrote."""
        return subprocess.run(
            [self.bin / "zlog", "tail", "-n", "200", self.name(name)],
            env=self.env, capture_output=True, text=True, timeout=30,
            check=True).stdout

    def close(self):
        self.apply()
        self.wait(lambda: not self.rows())
        super().close()


CRIU = """#!/bin/sh
# Its verb is killed, or held up before or after it, where a file of that name
# says so.
hold() {
	[ -e %(where)s/hold-$1 ] && touch %(where)s/held-$1
	n=0
	while [ -e %(where)s/hold-$1 ] && [ $((n += 1)) -lt 50 ]; do
		sleep 0.1
	done
}
[ -e %(where)s/kill-$1 ] && { rm %(where)s/kill-$1; %(criu)s "$@" & \
sleep 0.002; kill -9 $!; kill -9 $$; }
hold $1
[ -e %(where)s/hold-after-$1 ] || exec %(criu)s "$@"
%(criu)s "$@"
status=$?
hold after-$1
exit $status
"""


def react_host_with_orders(orders):
    """The body of a fixture: one whose criu does as files in that directory
    tell it."""
    program = orders / "criu"
    program.write_text(CRIU % {"where": orders, "criu": product(
        os.uname().machine, "pkg/criu/bin/criu")})
    program.chmod(0o755)
    with directory() as path:
        host = ReactHost(path, orders / "organism", criu=program)
        host.orders = orders
        yield host
        host.close()


def react_host_in_directory(organism):
    """The body of a fixture."""
    with directory() as path:
        host = ReactHost(path, organism)
        yield host
        host.close()
