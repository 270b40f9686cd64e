"""The network of a container in a node: what it opens leaves the machine, and
who comes to it is many."""

import re
import socket
import threading

import pytest

from zooid import FULL, image, medium
from zooid.build import product

IDLE = 10000 if FULL else 500
# Of a connection that says nothing: in znet, and of the whole machine, where
# both its ends are here, the client's and the application's.
ZNET_BYTES, MACHINE_BYTES = 1024, 24 << 10

GATEWAY = "10.0.2.2"  # this machine, as QEMU's user network shows it


def answer_all(listener, body):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" %
                           (len(body), body))


def test_container_reaches_the_world(boot, scratch, httpd):
    """By TCP and by ping, with the resolver in its resolv.conf; not what only
    the node itself may reach. It may run before the node has an address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_all, args=(listener, b"from outside"),
                         daemon=True).start()
        port = listener.getsockname()[1]
        script = ("cat /etc/resolv.conf;"
                  "until wget -qO- http://%s:%d/; do sleep 1; done; echo;"
                  "ping -c1 %s | grep 'bytes from';"
                  "wget -qO- http://169.254.169.254/ || echo link closed;"
                  "nslookup nobody.invalid 2>&1 | grep Server; sleep 100000"
                  % (GATEWAY, port, GATEWAY))
        disk = medium.web(scratch / "disk", httpd,
                          command=["sh", "-c", script])
        node = boot(disks=[disk], ports=[medium.WEB_PORT], host=True)
        node.wait_ready()
        for said in (r"nameserver 10\.64\.0\.1", "from outside",
                     "64 bytes from " + GATEWAY, "link closed",
                     r"Server:\s+10\.64\.0\.1"):
            node.wait_console("log web-1", said)
        listener.shutdown(socket.SHUT_RDWR)


def test_sysctls_of_a_container(boot, scratch, httpd):
    """A node's kernel makes them when somebody looks, and begins with what zrun
    would set elsewhere; the node's own are as everywhere."""
    wanted = {"ipv4/ip_unprivileged_port_start": "0",
              "ipv4/ping_group_range": "0 2147483647",
              "ipv4/fwmark_reflect": "1", "ipv4/tcp_fwmark_accept": "1",
              "ipv6/fwmark_reflect": "1", "ipv4/conf/all/rp_filter": "0"}
    script = "cd /proc/sys/net; %s echo there: * ipv?/conf/*; sleep 100000" % (
        "".join("echo %s: $(cat %s); " % (name, name) for name in wanted))
    disk = medium.web(scratch / "disk", httpd, command=["sh", "-c", script])
    node = boot(disks=[disk], ports=[medium.WEB_PORT], agent=True)
    node.wait_ready()
    for name, value in wanted.items():
        node.wait_console("log web-1", "%s: %s\\b" % (name, value))
    node.wait_console("log web-1", "there: core ipv4 ipv6 unix ipv4/conf/all "
                      "ipv4/conf/default ipv6/conf/all ipv6/conf/default\\b")
    own = "/proc/sys/net/"
    assert node.agent.read(own + "ipv4/ip_unprivileged_port_start") == "1024\n"
    assert node.agent.read(own + "core/devconf_inherit_init_net") == "2\n"


def crowd_image():
    return image.make("crowd", {"bin/crowd": (
        0o755, product("x86_64", "tests/crowd").read_bytes())},
        ["--config.cmd", "crowd", "--config.cmd", "serve",
         "--config.cmd", "80"])


def resident_bytes(node):
    """Of znet alone."""
    pid = node.agent.pids_of("service/znet")[0]
    return int(re.search(r"^Pss: +(\d+) kB", node.agent.read(
        "/proc/%d/smaps_rollup" % pid), re.M)[1]) << 10


def available_bytes(node):
    return node.agent.memory_kb()["MemAvailable"] << 10


@pytest.mark.deadline(900)
def test_idle_clients(boot, scratch, capfd):
    """All stay, each costs little, and who comes then is served."""
    disk = medium.web(scratch / "disk", crowd_image())
    node = boot(disks=[disk], ports=[medium.WEB_PORT], agent=True,
                memory_mb=768 if FULL else 256)
    node.wait_ready()
    asked(node)
    pid = node.agent.pids_of("zooid/web-1")[0]
    crowd = "/proc/%d/root/bin/crowd" % pid
    znet, machine = resident_bytes(node), available_bytes(node)
    said = node.agent.ask("exec", crowd, "connect", medium.WEB_PORT, IDLE,
                          deadline_s=600)
    assert said == b"done %d\n" % IDLE
    znet = (resident_bytes(node) - znet) / IDLE
    machine = (machine - available_bytes(node)) / IDLE
    with capfd.disabled():
        print("%d idle clients: %d bytes each in znet, %.1f KB of the machine "
              "with both ends" % (IDLE, znet, machine / 1024))
    assert znet <= ZNET_BYTES and machine <= MACHINE_BYTES
    asked(node)
    assert node.agent.ask("exec", crowd, "tell", "ask", deadline_s=600) == \
        b"answered %d\n" % IDLE
    asked(node)


def asked(node):
    """One more client, from outside."""
    with socket.create_connection(("127.0.0.1", node.port(medium.WEB_PORT)),
                                  60) as sock:
        sock.sendall(b"new")
        assert sock.recv(3) == b"new"
