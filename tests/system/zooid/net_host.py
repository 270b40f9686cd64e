"""A node's network on this machine: init, zrun serve and znet in a network
namespace, the world in another, a veth between them, and real containers."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import threading

from . import image, messages, process
from .build import product
from .host import BIN, DEADLINE_S, Supervised
from .namespace import entered

UID_ZNET = 103


class Net:
    """A network namespace: its holder's, or that of the container `pid`."""

    def __init__(self, pid=None):
        self._holder = None
        if pid is None:
            self._holder = process.start(
                ["unshare", "-n", "sh", "-c", "ip link set lo up; echo ready;"
                 "exec sleep infinity"], stdout=subprocess.PIPE)
            assert self._holder.stdout.readline() == b"ready\n"
            pid = self._holder.pid
        self.pid = pid
        self._inside = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY)
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._congestion()

    def _congestion(self):
        """What paces by timers, as the machine's may, would measure those. Of
        the others only this one may be set in any namespace."""
        with self.entered():
            pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control"
                         ).write_text("reno")

    def entered(self):
        return entered(self._inside, self._outside)

    def command(self, *argv):
        return ["nsenter", "--net=/proc/%d/ns/net" % self.pid, *argv]

    def sh(self, script):
        done = subprocess.run(self.command("sh", "-ec", script), text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def link_local(self, link):
        """(its IPv6 address there, the number of the link), once nobody else
        has been found to have it."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            one, = json.loads(self.sh("ip -j -6 address show dev " + link))
            for a in one["addr_info"]:
                if a.get("local", "").startswith("fe80:") and \
                        not a.get("tentative"):
                    return a["local"], one["ifindex"]
            time.sleep(0.1)
        raise AssertionError("%s has no address of its own" % link)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        with self.entered():
            sock = socket.socket(family, kind, proto)
        sock.settimeout(DEADLINE_S)
        return sock

    def connect(self, address, port, **options):
        sock = self.socket(_family(address))
        for name, value in options.items():
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock.connect(place(address, port))
        return sock

    def listen(self, address, port, backlog=1024):
        sock = self.socket(_family(address))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place(address, port))
        sock.listen(backlog)
        sock.settimeout(None)
        return sock

    def serve(self, address, port, handler):
        """handler(connection, address) in a thread for each client."""
        listener = self.listen(address, port)

        def handle(connection, peer):
            with connection, contextlib.suppress(OSError):
                handler(connection, peer)

        def loop():
            while True:
                try:
                    accepted = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=accepted,
                                 daemon=True).start()
        threading.Thread(target=loop, daemon=True).start()
        return listener

    def close(self):
        process.end(self._holder)
        os.close(self._inside)
        os.close(self._outside)


def place(address, port):
    """As socket calls want it, of a link-local address (fe80::1%2) too."""
    return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM,
                              flags=socket.AI_NUMERICHOST)[0][4]


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class NetHost(Supervised):
    WORLD, NODE = "192.0.2.1", "192.0.2.2"
    WORLD6, NODE6 = "2001:db8::1", "2001:db8::2"
    RESOLVER = "10.64.0.1"

    def __init__(self, path, znet=BIN / "znet", files=1024):
        super().__init__(path, ZOOID_DATA=path / "data",
                         ZOOID_BOOT=path / "boot")
        (path / "data").mkdir()
        self.world, self.node = Net(), Net()
        self.world.sh(
            "ip link add world0 type veth peer name node0 netns %d;"
            "ip link set world0 up;"
            "ip address add %s/24 dev world0; ip address add %s/64 dev world0 nodad" %
            (self.node.pid, self.WORLD, self.WORLD6))
        self.node.sh(
            "ip link set node0 up; ip address add %s/24 dev node0;"
            "ip address add %s/64 dev node0 nodad;"
            "ip route add default via %s;"
            "echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range" %
            (self.NODE, self.NODE6, self.WORLD))
        self.prefix = self.node.command()
        self._image()
        self.supervise(
            "zrun kmsg mode=0666 : %s serve" % product("x86_64", "bin/zrun"),
            "znet kmsg uid=%d mode=0666 files=%d : %s" %
            (UID_ZNET, files, znet))
        self._ask(messages.ZRUN_UNPACK, digest=self.digest, path="busybox")
        self.containers = {}

    def _image(self):
        layout = image.make("busybox-net", {}, ["--config.cmd", "sh"])
        shutil.copytree(layout, self.path / "boot/busybox")
        index = json.loads((layout / "index.json").read_text())
        self.digest = index["manifests"][0]["digest"]

    def _ask(self, verb, name="", digest="", path="", arg=0, fds=()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(str(self.run / "zrun.sock"))
            socket.send_fds(sock, [messages.ZRUN_REQUEST.pack(
                messages.ZRUN_REQUEST.size, verb, arg, 0, name.encode(),
                digest.encode(), path.encode(), b"")], list(fds))
            reply = messages.ZRUN_REPLY.unpack(
                sock.recv(messages.ZRUN_REPLY.size))
        assert reply[2] == 0, (reply, self.said())
        return reply[3]

    @staticmethod
    def id(name):
        """Of a container: there is one tree of cgroups for all that run."""
        return "%s-%d" % (name, os.getpid())

    def container(self, name, address, application="", service="",
                  policy=None, sysctl=None, id=None):
        """A container that does nothing, as its network namespace."""
        config = {
            "ociVersion": "1.2.0", "root": {"path": "rootfs"},
            "process": {"args": ["sleep", "100000"], "cwd": "/",
                        "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
                        "noNewPrivileges": True},
            "annotations": {"org.zooid.address": address,
                            "org.zooid.application": application,
                            "org.zooid.service": service},
            "mounts": [{"destination": "/proc", "type": "proc",
                        "options": ["nosuid", "noexec", "nodev"]}],
            "linux": {"namespaces": [{"type": kind} for kind in (
                "pid", "network", "ipc", "uts", "mount", "cgroup")]}}
        config["linux"]["sysctl"] = sysctl or {}
        if policy is not None:
            config["annotations"]["org.zooid.policy"] = policy
        fd = os.memfd_create("config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, json.dumps(config).encode())
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
            pid = self._ask(messages.ZRUN_START, id or self.id(name),
                            self.digest, fds=[fd])
        finally:
            os.close(fd)
        self.containers[name] = Net(pid)
        return self.containers[name]

    def end(self, name, id=None):
        """Kills a container."""
        self._ask(messages.ZRUN_KILL, id or self.id(name), arg=9)

    def delete(self, name):
        """Of one that was ended, when it has."""
        def gone():
            try:
                self._ask(messages.ZRUN_DELETE, self.id(name))
            except AssertionError as e:
                assert e.args[0][0][2] == -errno.EBUSY, e
                return False
            return True
        self.wait(gone)

    def status(self, *args):
        done = subprocess.run([BIN / "znet", "status", *args], env=self.env,
                              text=True, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr + self.said()
        return done.stdout

    def close(self):
        for name, net in self.containers.items():
            with contextlib.suppress(AssertionError):
                self.end(name)
            net.close()
        super().close()
        self.node.close()
        self.world.close()
