"""A node that belongs to an organism, for tests of znode without a hub."""

from .messages import ZNODE_DESIRED
from .organism import Organism
from .znode_host import write_layout

NODE = "n-0123456789abcd"


class Colony:
    """A host, the organism that it belongs to, and images in a registry."""

    def __init__(self, host, directory):
        self.host = host
        self.organism = Organism(directory / "organism")
        self.chain = self.organism.chain(NODE).encode()
        self.digest, self.index = self.image(b"a layer")
        self.revision = 0

    def image(self, layer):
        """Pushes one; the digests of its manifest and of its index."""
        new = self.host.registry / "new"
        manifest, index = write_layout(new, layer)
        new.rename(self.host.registry / manifest[7:])
        (self.host.registry / index[7:]).symlink_to(manifest[7:])
        return manifest, index

    def app(self, name="web", **changes):
        return {"name": name, "image": "hub/one:latest",
                "digest": self.digest, "command": ["run"],
                "restart": "always", **changes}

    def document(self, *apps, **changes):
        self.revision += 1
        return {"node": NODE, "name": "n1", "epoch": 1,
                "revision": self.revision, "registry": "hub",
                "apps": list(apps), **changes}

    def offer(self, document, signer="documents", chain=None):
        return self.host.ask(
            ZNODE_DESIRED, self.organism.envelope(document, signer),
            self.chain if chain is None else chain)

    def apply(self, *apps, **changes):
        document = self.document(*apps, **changes)
        assert self.offer(document) == (
            0, (document["epoch"], document["revision"]), "")
        return document
