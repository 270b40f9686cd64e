"""Compose keys that need every part, in a node as it is shipped (QEMU): a
secret that is sealed to it, two services of one network, who reaps."""

from colony import PORT, Colony

SECRET = "s3cret of a node\n"
COMPOSE = """\
name: shop
services:
  front:
    image: hub/httpd:latest
    command: [sleep, "1000000"]
    init: true
    stop_grace_period: 1s
    ports: ["%d:80"]
  page:
    image: hub/httpd:latest
    network_mode: service:front
    command:
      - sh
      - -c
      - >-
        mkdir /p && (cat /run/secrets/key; stat -c %%a /run/secrets/key)
        >/p/index.html && exec httpd -f -h /p
    secrets: [key]
    healthcheck: {test: [CMD, wget, -qO-, "http://127.0.0.1/"], interval: 1s}
secrets:
  key: {file: key.txt}
""" % PORT


def test_secret_and_shared_network_in_a_node(tmp_path):
    with Colony(tmp_path / "colony") as colony:
        (colony.directory / "key.txt").write_text(SECRET)
        colony.push()
        node = colony.boot("n1")
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.apply("n1", text=COMPOSE)
        page = SECRET + "400\n"
        assert node.fetch(PORT) == page
        # After a cut it needs nobody.
        colony.hub.stop()
        node = colony.boot("n1")
        node.wait_ready()
        assert node.fetch(PORT) == page
        assert "s3cret" not in node.log.text
        node.wait_console("ps", r"page +hub +running")
