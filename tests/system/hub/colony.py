"""A hub on this machine and nodes in QEMU that dial it: the whole, as users
have it, with the programs that are shipped."""

import json
import os
import pathlib
import subprocess
import time

import hub as hubs
from zooid import BUILD, Disk, Late, Node, image, web

HOST = "10.0.2.2"  # where QEMU's user network shows the host
PORT = 8080
BIN = BUILD / os.uname().machine / "bin"

COMPOSE = """\
name: shop
services:
  web:
    image: hub/httpd:latest
    ports:
      - "%d:80"
    restart: always
""" % PORT


class Colony:
    """Use as a context manager: leaving it ends the nodes and the hub.

    directory   of the hub's folder, the disks and the logs
    addresses   under which nodes dial the hub, beside loopback's; with a
                port where it is not the hub's own (a relay's)
    """

    def __init__(self, directory, arch="x86_64", addresses=(HOST,)):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.arch = arch
        self.hub = hubs.Hub(self.directory / "hub", program=BIN / "zhub",
                            addresses=("localhost", "127.0.0.1", *addresses))
        self.nodes = {}

    def __enter__(self):
        try:
            self.hub.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for node in self.nodes.values():
            node.end()
        self.hub.close()

    # The operator.

    def zctl(self, *arguments, check=True, timeout=60):
        """What zctl prints."""
        done = subprocess.run(
            [BIN / "zctl", *map(str, arguments)], text=True, timeout=timeout,
            capture_output=True, cwd=self.directory, stdin=subprocess.DEVNULL,
            env={**os.environ, "ZOOID_HUB": str(self.hub.directory)})
        if check and done.returncode:
            raise RuntimeError("zctl %s: exit %d\n%s%s" % (
                " ".join(map(str, arguments)), done.returncode, done.stdout,
                done.stderr))
        return done.stdout if check else done

    def zctl_json(self, *arguments):
        return json.loads(self.zctl(*arguments, "-o", "json"))

    def push(self, layout=None, name="httpd:latest"):
        """An OCI layout to the hub's registry, by skopeo."""
        layout = layout or image.httpd(self.arch)
        subprocess.run(
            ["skopeo", "--override-arch", image.OCI_ARCH[self.arch], "copy",
             "--quiet", "--dest-cert-dir", self.hub.directory / "operator.d",
             "oci:%s:latest" % layout,
             "docker://localhost:%d/%s" % (self.hub.port, name)],
            check=True, timeout=60, stdin=subprocess.DEVNULL)

    def compose(self, text=COMPOSE):
        path = self.directory / "compose.yaml"
        path.write_text(text)
        return path

    def apply(self, *nodes, text=COMPOSE, options=("--wait",)):
        return self.zctl("apply", "-f", self.compose(text), "--node",
                         ",".join(nodes), *options, timeout=150)

    # Nodes.

    def disk(self, name, content=None, size_mb=1024, hub={}, **node_json):
        """A new medium for a node with a token of its own in node.json."""
        wanted = {"name": name, "hub": {"token": self.hub.token(), **hub},
                  **node_json}
        return Disk.make(self.directory / (name + ".img"), {
            "node.json": json.dumps(wanted, indent=1) + "\n",
            **(content or {})}, size_mb=size_mb)

    def boot(self, name, disk=None, **options):
        """A node that starts; one of that name that ran before is off."""
        if name in self.nodes:
            self.nodes[name].end()
        disk = disk or (self.nodes[name].disks[0] if name in self.nodes
                        else self.disk(name))
        options = {"dev": False, "ports": [PORT], **options}
        node = Node(name, arch=self.arch, disks=[disk], host=True,
                    directory=self.directory / name, **options)
        self.nodes[name] = node
        return node.start()

    def wait_rows(self, n, deadline_s):
        """Until ps has n rows."""
        end = time.monotonic() + deadline_s
        while len(rows := self.hub.operator.get("/v1/ps")["rows"]) != n:
            if time.monotonic() > end:
                raise Late("ps: wanted %d rows: %s" % (n, rows))
            time.sleep(web.PAUSE_S)

    def wait_nodes(self, names, deadline_s, state="ready"):
        """Until the hub says that of all of them; it makes no event of it,
        so this asks again."""
        end = time.monotonic() + deadline_s
        while True:
            states = {node["name"]: node["state"] for node in
                      self.hub.operator.get("/v1/nodes")["nodes"]}
            if all(states.get(name) == state for name in names):
                return
            if time.monotonic() > end:
                raise Late("nodes: wanted %s %s, the hub knows %s" % (
                    ", ".join(names), state, states))
            time.sleep(web.PAUSE_S)
