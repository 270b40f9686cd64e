"""A znet that somebody has captured, as a node runs it, without sanitizers:
whatever system call it makes, it reaches no file, no process, and no
descriptor but those that it was given."""

import contextlib
import errno
import os
import re
import socket
import subprocess
import sys
import textwrap

import pytest

from zooid import messages
from zooid.build import product
from zooid.captured import Captured, Killed
from zooid.host import directory
from zooid.net_host import UID_ZNET, NetHost

AT_FDCWD = -100
# Numbers of x86_64.
CALLS = {
    "open": (2, b"/etc/passwd", 0),
    "openat": (257, AT_FDCWD, b"/etc/passwd", 0),
    "openat2": (437, AT_FDCWD, b"/etc/passwd", bytes(24), 24),
    "creat": (85, b"/tmp/captured", 0o600),
    "mkdir": (83, b"/tmp/captured", 0o700),
    "unlink": (87, b"/tmp/captured"),
    "readlink": (89, b"/proc/self/exe", bytes(64), 64),
    "stat": (4, b"/etc/passwd", bytes(256)),
    "chroot": (161, b"/"),
    "mount": (165, b"a", b"/", b"tmpfs", 0, 0),
    "open_by_handle_at": (304, AT_FDCWD, bytes(64), 0),
    "execve": (59, b"/bin/sh", 0, 0),
    "fork": (57,),
    "clone": (56, 17, 0, 0, 0, 0),
    "clone3": (435, bytes(88), 88),
    "kill": (62, 1, 9),
    "ptrace": (101, 16, 1, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "pidfd_open": (434, 1, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "pidfd_send_signal": (424, 0, 9, 0, 0),
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "setuid": (105, 0),
    "bpf": (321, 0, bytes(64), 64),
    "io_uring_setup": (425, 8, bytes(128)),
    "prctl": (157, 4, 1),
    "mprotect": (10, 0, 4096, 7),
}
SOCKET = 41
AF_NETLINK, AF_PACKET, SOCK_RAW = 16, 17, 3


@pytest.fixture(scope="module")
def host():
    with directory() as path:
        host = NetHost(path, product("x86_64", "bin/znet"))
        host.container("a", "10.64.0.2")
        host.init = messages.Init(host.run)
        yield host
        host.close()


@contextlib.contextmanager
def started(host):
    """One more znet beside that of init, which would wait ever longer before
    it starts the next one; confined."""
    with directory() as run:
        for name in ("init.sock", "zrun.sock"):
            (run / name).symlink_to(host.run / name)
        os.chown(run, UID_ZNET, UID_ZNET)
        process = subprocess.Popen(
            [product("x86_64", "bin/znet")], user=UID_ZNET, group=UID_ZNET,
            extra_groups=[], env={**host.env, "ZOOID_RUN": str(run)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        try:
            host.wait(lambda: status_of(process.pid)["Seccomp"] == "2")
            yield process
        finally:
            process.kill()
            process.wait()


def status_of(pid):
    with open("/proc/%d/status" % pid) as status:
        return dict(line.rstrip("\n").split(":\t", 1) for line in status)


@contextlib.contextmanager
def captured(pid):
    process = Captured(pid)
    try:
        yield process
    finally:
        process.release()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_it_does_not_make_kills_it(host, name):
    with started(host) as process, captured(process.pid) as znet:
        assert znet.call(39) == znet.pid, "getpid: it does what we say"
        with pytest.raises(Killed):
            znet.call(*CALLS[name])


def test_it_has_no_right(host):
    """Those that it makes get it no further."""
    with captured(host.pid("znet")) as znet:
        for kind, proto in ((AF_PACKET, 0x300), (socket.AF_INET, 1),
                            (socket.AF_INET6, 58)):
            assert znet.call(SOCKET, kind, SOCK_RAW, proto) == -errno.EPERM
        # tgkill, of init: its parent.
        fields = status_of(znet.pid)
        parent = int(fields["PPid"])
        assert znet.call(234, parent, parent, 9) == -errno.EPERM
    assert fields["Uid"].split() == [str(UID_ZNET)] * 4
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[name], 16) == 0, name


def test_it_holds_nothing_of_the_file_system(host):
    """Sockets, TUNs, and what has no name."""
    folder = "/proc/%d/fd" % host.pid("znet")
    for fd in os.listdir(folder):
        try:
            leads = os.readlink("%s/%s" % (folder, fd))
        except FileNotFoundError:
            continue
        assert re.match(r"socket:|pipe:|anon_inode:|/dev/net/tun|/dev/null|"
                        r"/dev/kmsg|/memfd:|%s" % re.escape(str(host.errors)),
                        leads), (fd, leads)


ASK = """
    import os, socket, sys
    os.setgroups([]); os.setgid(%(uid)d); os.setuid(%(uid)d)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(30)
    sock.connect(sys.argv[1])
    sock.send(bytes.fromhex(sys.argv[2]))
    message, fds, _, _ = socket.recv_fds(sock, 4096, 4)
    print(message.hex(), len(fds))
"""


def asked(host, server, request, uid=UID_ZNET):
    """(bytes of the reply, number of descriptors) to a uid; None when it was
    hung up on."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ASK % {"uid": uid}),
         host.run / server, request.hex()], text=True, capture_output=True,
        timeout=60)
    assert done.returncode == 0, done.stderr
    reply, n = done.stdout.rsplit(maxsplit=1) if " " in done.stdout.strip() \
        else ("", done.stdout.strip())
    return bytes.fromhex(reply), int(n)


INIT_GET = 4
UID_ZNODE = 102
KINDS = {"pidfd": 0, "output": 1, "netns": 4}


def init_request(host, verb, kind, n=0):
    return messages.INIT_REQUEST.pack(
        messages.INIT_REQUEST.size, verb, kind, n, host.id("a").encode(),
        bytes(16), 0, 0, 0, b"")


@pytest.mark.parametrize("kind", KINDS)
def test_init_gives_it_nothing_of_others(host, kind):
    for n in range(3):
        reply, fds = asked(host, "init.sock",
                           init_request(host, INIT_GET, KINDS[kind], n))
        assert messages.INIT_REPLY.unpack(reply)[2] == -errno.EPERM
        assert fds == 0


def test_init_gives_it_its_own(host):
    """So that the refusals above are such."""
    reply, fds = asked(host, "init.sock", init_request(host, INIT_GET, 3))
    assert messages.INIT_REPLY.unpack(reply)[2] == 0 and fds == 1


@pytest.mark.parametrize("verb", [
    messages.ZRUN_START, messages.ZRUN_KILL, messages.ZRUN_DELETE,
    messages.ZRUN_EXEC, messages.ZRUN_UNPACK])
def test_zrun_does_nothing_for_it(host, verb):
    reply, fds = asked(host, "zrun.sock", messages.ZRUN_REQUEST.pack(
        messages.ZRUN_REQUEST.size, verb, 9, 0, host.id("a").encode(),
        host.digest.encode(), b"", b""))
    assert fds == 0
    assert messages.ZRUN_REPLY.unpack(reply)[2] == -errno.EACCES
    assert os.path.exists("/proc/%d" % host.containers["a"].pid)


@pytest.mark.parametrize("verb", [messages.INIT_NOTE, messages.INIT_DROP])
@pytest.mark.parametrize("n", [0, 1])
def test_a_captured_znode_changes_no_network(host, verb, n):
    """The note with a TUN says whether its container has a policy, and whom it
    may meet; the policy lies beside it."""
    if n == 1:
        host.init.call(messages.INIT_PUT, 3, host.id("a"), 1,
                       fds=[os.memfd_create("policy")])
    try:
        reply, _ = asked(host, "init.sock",
                         init_request(host, verb, 3, n), UID_ZNODE)
        assert messages.INIT_REPLY.unpack(reply)[2] == -errno.EPERM
        assert "10.64.0.2" in host.status()
    finally:
        if n == 1:
            host.init.call(messages.INIT_DROP, 3, host.id("a"), 1)
