"""A node on this machine whose containers are real: znode and `zrun serve`, what
the tests of applications share."""

import json
import pathlib

from .build import BUILD
from .messages import ZNODE_DESIRED
from .organism import Organism

NODE = "n-0123456789abcd"
ZRUN = BUILD / "x86_64/bin/zrun"
# Keeps running until it is told to end, and writes that down.
SERVE = "trap 'echo ended >>/v/log; exit 0' TERM QUIT; " \
    "while :; do sleep 1000 & wait $!; done"


class Node:
    def __init__(self, host, directory, layout):
        self.host = host
        host.zrun = "%s serve" % ZRUN
        self.organism = Organism(directory / "organism")
        self.chain = self.organism.chain(NODE).encode()
        index = json.loads((layout / "index.json").read_text())
        self.digest = index["manifests"][0]["digest"]
        (host.registry / self.digest[7:]).symlink_to(layout)
        self.revision = 0
        host.start()

    def app(self, name="web", **changes):
        return {"name": name, "image": "hub/app", "digest": self.digest,
                "command": ["sh", "-c", SERVE], "restart": "always",
                "origin": {"application": "shop"}, **changes}

    def apply(self, *apps):
        assert self.ask(*apps) == ""

    def ask(self, *apps):
        """What znode says against a new document."""
        self.revision += 1
        document = {"node": NODE, "name": "n1", "epoch": 1,
                    "revision": self.revision, "registry": "hub",
                    "apps": list(apps)}
        return self.host.ask(
            ZNODE_DESIRED, self.organism.envelope(document), self.chain)[2]

    def ended(self):
        """Nothing is wanted, and nothing is left."""
        self.apply()
        self.host.wait(lambda: not json.loads(
            self.host.znode("ps", "-o", "json")))

    def root(self, name="web"):
        return pathlib.Path("/proc/%d/root" %
                            self.host.wait_state("running", name)["pid"])

    def status(self, key, name="web"):
        pid = self.host.wait_state("running", name)["pid"]
        text = pathlib.Path("/proc/%d/status" % pid).read_text()
        return dict(line.split(":\t", 1)
                    for line in text.splitlines() if ":\t" in line)[key]
