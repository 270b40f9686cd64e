"""The practical web application: WordPress with MariaDB behind nginx, made of
Debian's packages, pushed to the hub and to Debian's docker-registry, pulled by
a node in QEMU, installed over HTTP; a post is there after the power went."""

import json

import pytest

from colony import HOST, PORT, Colony
from zooid import application, build
from zooid.registries import DockerRegistry
from zooid.wordpress import Site

# 200 MB, their unpacking and the first database, TCG on a busy host.
START_S = 500
PAGE_S = 200
COMPOSE = """\
name: blog
services:
  front:
    image: %s
    depends_on: [wordpress]
    ports: ["%d:80"]
    configs:
      - {source: site, target: /etc/nginx/site.conf}
    restart: always
  wordpress:
    image: hub/wordpress:latest
    depends_on:
      mariadb: {condition: service_healthy}
    environment:
      WORDPRESS_DB_HOST: mariadb
      WORDPRESS_DB_NAME: wp
      WORDPRESS_DB_USER: wp
      WORDPRESS_DB_PASSWORD: &password secret
      WORDPRESS_SALT: pepper
    restart: always
  mariadb:
    image: hub/mariadb:latest
    environment:
      MARIADB_DATABASE: wp
      MARIADB_USER: wp
      MARIADB_PASSWORD: *password
    volumes: ["db:/var/lib/mysql"]
    healthcheck:
      test: [CMD, mariadb-admin, ping, --silent]
      interval: 2s
      timeout: 30s
      start_period: 10m
    restart: always
configs:
  site: {file: site.conf}
volumes:
  db:
"""


@pytest.mark.deadline(1500)
def test_post_survives_a_cut(tmp_path, flaky):
    registry = DockerRegistry(tmp_path / "registry")
    try:
        run(tmp_path, flaky, registry)
    finally:
        registry.close()


def run(tmp_path, flaky, registry):
    layout = application.image("nginx")
    registry.push(layout, "nginx:latest")
    index = json.loads((layout / "index.json").read_text())
    shown = "%s:%s" % (HOST, registry.host.rpartition(":")[2])
    # The hub cannot ask there which image a tag means.
    front = "%s/nginx@%s" % (shown, index["manifests"][0]["digest"])
    with Colony(tmp_path / "colony") as colony:
        (colony.directory / "site.conf").write_text(
            application.NGINX.replace("RESOLVER", "10.64.0.1")
            .replace("UPSTREAM", "wordpress"))
        for name in ("wordpress", "mariadb"):
            colony.push(application.image(name), name + ":latest")
        server, drive = flaky(
            colony.disk("n1", size_mb=4096,
                        registries=[{"host": shown, "http": True}]),
            seed=build.seed())
        options = {"memory_mb": 1024}
        node = colony.boot("n1", drive, **options)
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.apply("n1", text=COMPOSE % (front, PORT),
                     options=("--wait=0s",))
        site = Site("http://127.0.0.1:%d" % node.port(PORT), PAGE_S)
        site.install(START_S, node.process)
        number = site.write()
        node.process.kill()
        server.cut()
        # It needs no hub and no registry to come back.
        colony.hub.stop()
        registry.close()
        node = colony.boot("n1", drive, **options)
        node.wait_ready()
        site = Site("http://127.0.0.1:%d" % node.port(PORT), PAGE_S)
        site.check(number, START_S, node.process)
        node.console_poweroff(60)
    assert drive.check_data() == "clean"
