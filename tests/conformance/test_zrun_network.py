"""A captured znode that wants a wider network for a container than the signed
document gives it: each way to ask for one is refused by zrun serve."""

import errno
import json
import os

import pytest

import test_zrun_serve as serve
from test_zrun_grants import Granting, organism  # noqa: F401 (a fixture)

pytestmark = serve.pytestmark

ADDRESS = "10.64.0.%d"
POLICY = {"default": "deny", "up": 1 << 20, "connections": 100,
          "rules": ["allow example.com tcp 443", "allow 192.0.2.0/24"]}
LINES = ("default deny\nup 1048576\nconnections 100\n"
         "allow example.com tcp 443\nallow 192.0.2.0/24\n")


class Networking(Granting):
    """App "shop" has a policy, "open" none, "pod" is in the network of
    "shop", "alone" has no network; "own" is of node.json."""

    def token(self, organism):
        (self.node.path / "boot/node.json").write_text(json.dumps({
            "hub": {"token": organism.token()},
            "apps": [{"name": "own", "image": "httpd"}]}))

    def apps(self):
        def app(name, **keys):
            return dict({"name": name, "image": "hub/httpd",
                         "digest": self.node.digest,
                         "origin": {"application": "site"}}, **keys)
        return [app("shop", policy=POLICY), app("open"),
                app("pod", pod={"app": "shop", "shares": ["network"]}),
                app("alone", network="none")]

    def obeyed(self):
        self.revision += 1
        self.put({"node": "n-0123456789abcd", "name": "n1", "epoch": 1,
                  "revision": self.revision, "registry": "hub",
                  "apps": self.apps()})
        reply = self.ask()
        assert reply.error == 0, reply

    def boot(self):
        """/run is new, and serve; nobody has asked it for anything."""
        os.unlink(self.node.path / "run/zrun/.grants")
        old = self.node.kill_serve()
        self.node.wait(lambda: self.node.serve_pid() not in (None, old))

    def wanted(self, app="shop", address=2, policy=LINES, application="site",
               joins=None, **more):
        config = serve.config("sleep", "1000")
        notes = {"application": application, "service": app}
        if address:
            notes["address"] = ADDRESS % address
        if policy is not None:
            notes["policy"] = policy
        notes.update(more)
        config["annotations"] = {"org.zooid." + key: value
                                 for key, value in notes.items()}
        if joins:
            config["linux"]["namespaces"][1]["path"] = \
                "/proc/%d/ns/net" % joins
        return config

    def refuses(self, text, id="shop-1", digest=None, **wanted):
        reply = self.start(id, self.wanted(**wanted), digest)
        assert reply.error == -errno.EPERM and text in reply.text, reply
        assert id not in self.node.list()

    def starts(self, id="shop-1", **wanted):
        reply = self.start(id, self.wanted(**wanted))
        assert reply.error == 0, reply
        return reply.pid


@pytest.fixture
def net(tmp_path, organism):  # noqa: F811
    node = serve.with_image(tmp_path)
    made = Networking(node, organism)
    made.obeyed()
    yield made
    node.close()


def test_as_the_document_says(net):
    pid = net.starts()
    net.starts("open-1", app="open", address=3, policy=None)
    net.starts("pod-7", app="pod", address=None, policy=None, joins=pid)
    net.starts("alone-1", app="alone", address=None, policy=None)
    net.starts("own-1", app="own", address=4, policy=None, application="")


OTHER = "annotations.org.zooid.policy: the signed document has another"


@pytest.mark.parametrize("policy", [
    None, "", "default allow\n", LINES.replace("deny", "allow", 1),
    LINES + "allow any\n", LINES.replace("192.0.2.0/24", "any"),
    LINES.replace("up 1048576\n", ""), LINES.split("\n", 1)[1],
    "\n".join(LINES.split("\n")[:-2]) + "\n", "allow any\n" + LINES])
def test_another_policy(net, policy):
    net.refuses(OTHER, policy=policy)


def test_a_policy_where_there_is_none(net):
    net.refuses(OTHER, "open-1", app="open")


@pytest.mark.parametrize("text, wanted", [
    # Another app of the document, whose container it would be by its id.
    (OTHER, dict(id="open-1", app="open")),
    ("id: want that of its app", dict(id="open-1")),
    ("id: want that of its app", dict(id="shop")),
    ("id: want that of its app", dict(id="shop-x")),
    ("id: want that of its app", dict(app="open", policy=None)),
    # An app that nobody has signed.
    ("app new of that image is not in", dict(id="new-1", app="new",
                                             policy=None)),
    ("not in the signed document", dict(id="new-1", app="new")),
    ("app shop of that image is not in", dict(digest="sha256:" + 64 * "0")),
    # One of node.json, with neighbours that it does not have.
    ("app own of that image is not in", dict(id="own-1", app="own",
                                             policy=None)),
    # As whom its neighbours know it.
    ("org.zooid.application: the signed", dict(application="")),
    ("org.zooid.application: the signed", dict(application="other")),
    ("org.zooid.service: the signed", dict(app="db", **{"app_": "shop"})),
    ("gives it no network", dict(id="alone-1", app="alone", policy=None)),
    ("network: the signed document gives it another",
     dict(id="pod-1", app="pod", policy=None)),
])
def test_another_name(net, text, wanted):
    wanted = dict(wanted)
    app = wanted.pop("app_", None)
    if app:
        config = net.wanted(**wanted)
        config["annotations"]["org.zooid.app"] = app
        reply = net.start("shop-1", config)
        assert reply.error == -errno.EPERM and text in reply.text, reply
    else:
        net.refuses(text, **wanted)


def test_the_network_of_another_container(net):
    """Whose own is wider, or who is not the one that the document names."""
    pid = net.starts("open-1", app="open", address=3, policy=None)
    text = "network: the signed document gives it another"
    net.refuses(text, address=None, joins=pid)
    net.refuses(text, joins=pid)
    net.refuses(text, "pod-1", app="pod", address=None, policy=None,
                joins=pid)
    net.refuses("app own of that image", "own-1", app="own", address=None,
                policy=None, application="", joins=net.starts(
                    "own-2", app="own", address=4, policy=None,
                    application=""))


def test_an_image_that_is_not_on_the_partition(net):
    """For an app of node.json the digest is the layout's."""
    layout = net.node.path / "boot/httpd/blobs/sha256"
    blob = layout / net.node.digest.split(":")[1]
    blob.rename(layout / "elsewhere")
    net.refuses("app own of that image", "own-1", app="own", policy=None,
                application="")


def test_a_document_that_is_kept_back(net):
    """An older one, a forged one, or none: of its apps none has a network,
    those of node.json have."""
    document = net.node.path / "data/desired/document"
    old = document.read_bytes()
    net.obeyed()
    document.write_bytes(old)
    assert net.ask().error == -errno.ESTALE
    net.refuses(OTHER, policy=None)
    document.unlink()
    assert net.ask().error < 0
    net.refuses("app shop of that image is not in", policy=None)
    net.starts("own-1", app="own", address=4, policy=None, application="")


def test_nothing_is_known(net):
    """A boot, with a document that cannot be believed."""
    document = net.node.path / "data/desired/document"
    text = document.read_bytes()
    document.write_bytes(b"")
    net.boot()
    net.refuses("app shop of that image is not in", policy=None)
    net.starts("own-1", app="own", address=4, policy=None, application="")
    # And one with a good one, before anybody asks.
    document.write_bytes(text)
    net.boot()
    net.refuses(OTHER, policy=None)
    net.starts()


def test_no_hub(net):
    """Then nothing is signed."""
    (net.node.path / "boot/node.json").write_text("{}")
    assert net.ask().error < 0
    net.starts("any", app="new", policy=None)
