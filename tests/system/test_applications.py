"""What people have runs as it is: nginx, redis, WordPress with MariaDB, made of
Debian's packages, by znode, `zrun serve` and znet on this machine."""

import contextlib
import json
import re
import socket

import pytest

from zooid import application
from zooid.app_node import Node
from zooid.host import BIN, free_port
from zooid.wordpress import Site
from zooid.znode_host import host_in_directory

UID_ZNET, UID_ZLOG = 103, 101
RESOLVER = "10.64.0.1"


class Applications(Node):
    def __init__(self, host, directory):
        self.digests = {}
        super().__init__(host, directory, application.image("nginx"))
        for name in application.IMAGES:
            layout = application.image(name)
            index = json.loads((layout / "index.json").read_text())
            digest = index["manifests"][0]["digest"]
            self.digests[name] = digest
            with contextlib.suppress(FileExistsError):
                (host.registry / digest[7:]).symlink_to(layout)

    def service(self, image, name=None, **more):
        app = self.app(name or image, image="hub/" + image,
                       digest=self.digests[image], **more)
        if "command" not in more:
            del app["command"]
        return app

    def nginx(self, port, upstream):
        text = application.NGINX.replace("RESOLVER", RESOLVER).replace(
            "UPSTREAM", upstream)
        return self.service(
            "nginx", ports=[{"host": port, "container": 80}],
            mounts=[{"type": "file", "target": "/etc/nginx/site.conf",
                     "content": text}])


@pytest.fixture
def node(tmp_path):
    for host in host_in_directory():
        host.more = ["znet kmsg uid=%d mode=0666 needs=zrun : %s" %
                     (UID_ZNET, BIN / "znet"),
                     # Who writes more than a pipe holds waits for it.
                     "zlog kmsg uid=%d mode=0666 : %s" %
                     (UID_ZLOG, BIN / "zlog")]
        made = Applications(host, tmp_path)
        yield made
        made.ended()


def redis(sock, *words):
    """One command, and the first line of what it says."""
    sock.sendall(b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))
    line = b""
    while not line.endswith(b"\r\n"):
        line += sock.recv(1)
    return line.decode().strip()


def counted(node, port):
    def ask():
        try:
            with socket.create_connection(("127.0.0.1", port), 20) as sock:
                sock.settimeout(20)
                return redis(sock, "INCR", "visits")
        except OSError:
            return ""
    node.host.wait(lambda: re.fullmatch(r":\d+", ask()))
    return int(ask()[1:])


def test_redis_keeps_what_it_was_told(node):
    port = free_port()
    service = node.service(
        "redis", ports=[{"host": port, "container": 6379}],
        mounts=[{"type": "volume", "target": "/data", "source": "data"}])
    node.apply(service)
    before = counted(node, port)
    node.apply(dict(service, labels={"again": "1"}))
    node.host.wait(lambda: node.host.app("redis")["container"] != "redis-1")
    assert counted(node, port) >= before + 1


def test_nginx_learns_the_client_by_the_proxy_protocol(node):
    """Also one of IPv6, on which it does not listen, and frozen until the
    client has said something: the header alone does not wake it."""
    port = free_port()
    service = node.nginx(port, "none")
    service["ports"][0]["proxy_protocol"] = 2
    service["mounts"][0]["content"] = service["mounts"][0]["content"].replace(
        "listen 80;", "listen 80 proxy_protocol;")
    node.apply(dict(service, reactive={"freeze_after_ms": 200,
                                       "wake": "byte"}))

    def asked(address):
        with socket.create_connection((address, port), 20) as sock:
            node.host.wait(
                lambda: node.host.app("nginx")["state"] == "frozen")
            wakes = node.host.app("nginx")["wakes"]
            sock.sendall(b"GET /called HTTP/1.0\r\n\r\n")
            reply = b""
            while data := sock.recv(4096):
                reply += data
        assert node.host.app("nginx")["wakes"] == wakes + 1
        return reply.decode().splitlines()[-1]
    node.host.wait(lambda: node.host.app("nginx")["state"] == "frozen")
    assert asked("127.0.0.1") == "127.0.0.1"
    assert asked("::1") == "::1"


def wordpress(node, salt="pepper"):
    secret = {"WORDPRESS_DB_HOST": "mariadb", "WORDPRESS_DB_NAME": "wp",
              "WORDPRESS_DB_USER": "wp", "WORDPRESS_DB_PASSWORD": "secret",
              "WORDPRESS_SALT": salt}
    return [
        node.service("mariadb", environment={
            "MARIADB_DATABASE": "wp", "MARIADB_USER": "wp",
            "MARIADB_PASSWORD": "secret"}, mounts=[
                {"type": "volume", "target": "/var/lib/mysql",
                 "source": "db"}],
            health={"test": ["mariadb-admin", "ping", "--silent"],
                    "interval_ms": 1000, "start_period_ms": 60000}),
        node.service("wordpress", environment=secret, depends_on=[
            {"app": "mariadb", "condition": "healthy"}])]


def test_wordpress(node):
    """Installed over HTTP, a post written, MariaDB replaced, the post read; the
    application sees who asks."""
    port = free_port()
    site = Site("http://127.0.0.1:%d" % port)
    node.apply(*wordpress(node), node.nginx(port, "wordpress"))
    site.install(120)
    assert site.fetch("/client") == "127.0.0.1\n"
    number = site.write()
    # The next MariaDB, with the same volume.
    before = node.host.app("mariadb")["container"]
    database, site_app = wordpress(node)
    node.apply(dict(database, labels={"again": "1"}), site_app,
               node.nginx(port, "wordpress"))
    node.host.wait(lambda: node.host.app("mariadb")["container"] != before)
    site.check(number, 60)
