"""A public Compose shape, nginx before an app with redis, made of Debian's
packages, pushed to the hub and pulled by a node in QEMU: what redis has
acknowledged is there after the power went."""

import contextlib
import socket
import time

import pytest

from colony import PORT, Colony
from zooid import Late, application, build, web

REDIS_PORT = 6379
WRITES = 200
PULL_S = 240  # 100 MB and their unpacking, TCG on a busy host
COMPOSE = """\
name: shop
services:
  front:
    image: hub/nginx:latest
    depends_on: [app, redis]
    ports: ["%d:80"]
    configs:
      - {source: site, target: /etc/nginx/site.conf}
    restart: always
  app:
    image: hub/httpd:latest
    restart: always
  redis:
    image: hub/redis:latest
    command: [redis-server, --dir, /data, --appendonly, "yes",
              --appendfsync, always, --protected-mode, "no"]
    ports: ["%d:6379"]
    volumes: ["data:/data"]
    restart: always
configs:
  site: {file: site.conf}
volumes:
  data:
""" % (PORT, REDIS_PORT)


class Redis:
    """A connection to the one of a node, as soon as it answers."""

    def __init__(self, node, deadline_s):
        end = time.monotonic() + deadline_s
        self.sock = None
        while not self.sock:
            with contextlib.suppress(OSError, EOFError):
                self.sock = socket.create_connection(
                    ("127.0.0.1", node.port(REDIS_PORT)), 20)
                if self.ask("PING") == "+PONG":
                    return
            self.close()
            if time.monotonic() > end:
                raise Late("redis does not answer:\n" + node.log.tail())
            time.sleep(web.PAUSE_S)

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def line(self):
        got = b""
        while not got.endswith(b"\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                raise EOFError
            got += byte
        return got.decode().strip()

    def ask(self, *words):
        """One command; its first line, or the bulk string that it tells."""
        self.sock.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))
        first = self.line()
        return self.line() if first[0] == "$" and first != "$-1" else first


@pytest.mark.deadline(600)
def test_redis_behind_nginx_survives_a_cut(tmp_path, flaky):
    with Colony(tmp_path / "colony") as colony:
        (colony.directory / "site.conf").write_text(
            application.NGINX.replace("RESOLVER", "10.64.0.1")
            .replace("UPSTREAM", "app"))
        colony.push()
        for name in ("nginx", "redis"):
            colony.push(application.image(name), name + ":latest")
        server, drive = flaky(colony.disk("n1", size_mb=2048),
                              seed=build.seed())
        options = {"memory_mb": 512, "ports": [PORT, REDIS_PORT]}
        node = colony.boot("n1", drive, **options)
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.apply("n1", text=COMPOSE, options=("--wait=0s",))
        redis = Redis(node, PULL_S)
        assert node.fetch(PORT, deadline_s=PULL_S) == web.PAGE
        for number in range(1, WRITES + 1):
            assert redis.ask("INCR", "visits") == ":%d" % number
        node.process.kill()
        server.cut()
        redis.close()
        # It needs no hub to come back.
        colony.hub.stop()
        node = colony.boot("n1", drive, **options)
        node.wait_ready()
        redis = Redis(node, PULL_S)
        assert redis.ask("GET", "visits") == str(WRITES)
        redis.close()
        assert node.fetch(PORT, deadline_s=PULL_S) == web.PAGE
        node.console_poweroff(60)
    assert drive.check_data() == "clean"
