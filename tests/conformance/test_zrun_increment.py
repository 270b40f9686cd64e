"""checkpoint --parent-path in a node in QEMU, whose kernel can tell which pages
were written since: what the second one writes, and what restore makes of it."""

import itertools
import json
import time

import pytest

from test_spec_resources import PLACE, guest  # noqa: F401

pytestmark = pytest.mark.deadline(300)  # the first one boots
HELD = 8 << 20
ROOTFS = PLACE + "/bundle/rootfs"
CONFIG = PLACE + "/bundle/config.json"
numbers = itertools.count()


class Holder:
    """A container that knows what must be in its memory (pages.c)."""

    def __init__(self, guest):  # noqa: F811
        self.guest = guest
        guest.sh("rm -f %s/said %s/order" % (ROOTFS, ROOTFS))
        self.name, _ = guest.prepare({}, "pages", str(HELD >> 20))
        # To hold still a network of its own, criu wants a packet filter.
        config = json.loads(guest.agent.read(CONFIG))
        config["linux"]["namespaces"].remove({"type": "network"})
        guest.agent.write(CONFIG, json.dumps(config))
        # A file of the host would be no output that criu finds from inside.
        guest.sh("cd %s/bundle; ../runtime --root /run/oci-state create %s "
                 "</dev/null >/dev/null 2>&1" % (PLACE, self.name))
        self.zrun("start", self.name)
        assert self.answer() == 0

    def zrun(self, *words, code=0):
        found, text = self.guest.runtime("--criu", "/sbin/criu", *words)
        assert found == code, text
        return text

    def answer(self):
        """How many pages are wrong, once it has looked."""
        end, said = time.monotonic() + 60, ""
        while not said:
            assert time.monotonic() < end
            said = self.guest.sh("cat %s/said 2>/dev/null || :" % ROOTFS)
        self.guest.sh("rm %s/said" % ROOTFS)
        return int(said)

    def ask(self, order=""):
        self.guest.agent.write(ROOTFS + "/order", order)
        self.zrun("kill", self.name, "USR1")
        return self.answer()

    def checkpoint(self, *words):
        """Its image, and how many bytes of pages it has."""
        image = "../image%d" % next(numbers)
        self.zrun("checkpoint", "--image-path", image, *words, self.name)
        return image, int(self.guest.sh(
            "cd %s/bundle; cat %s/pages-*.img | wc -c" % (PLACE, image)))

    def refused(self, *words):
        text = self.zrun("checkpoint", "--image-path", "../refused", *words,
                         self.name, code=1)
        assert text.count("\n") == 1
        return text

    def restore(self, image):
        self.zrun("restore", "--detach", "--image-path", image, self.name)

    def clean(self):
        self.guest.runtime("delete", "--force", self.name)
        self.guest.sh("cd %s; rm -rf image* refused" % PLACE)


@pytest.fixture
def holder(guest):  # noqa: F811
    made = Holder(guest)
    yield made
    made.clean()


@pytest.mark.parametrize("first", ["--pre-dump", "--leave-running"])
def test_second_writes_what_changed(holder, first):
    """Moved pages have changed too: others lay there before."""
    image, size = holder.checkpoint(first)
    assert size > HELD
    assert holder.ask("touch") == 0
    second, size = holder.checkpoint("--leave-running", "--parent-path", image)
    assert HELD / 97 < size < HELD / 10
    assert holder.ask("exchange") == 0
    third, size = holder.checkpoint("--parent-path", second)
    assert 4 << 20 < size < 5 << 20
    holder.restore(third)
    assert holder.ask() == 0


def test_of_a_process_that_came_later(holder):
    """And of memory mapped anew, half of which was not written."""
    image, _ = holder.checkpoint("--pre-dump")
    assert holder.ask("fork map") == 0
    second, size = holder.checkpoint("--parent-path", image)
    assert size > HELD
    holder.restore(second)
    assert holder.ask("join") == 0


DAMAGES = [
    ("rm -r image*", "/parent: No such file or directory"),
    ("truncate -s 4M image*/pages-1.img", "pages-1.img: 4194304 bytes, not "),
    ("rm image*/pagemap-1.img", "pagemap-1.img: No such file or directory"),
    (": >$(echo image*)/sizes", "/parent: its dump did not end"),
]


def test_parent_that_is_not_whole(holder):
    """Neither as the parent of another one, nor at restore."""
    image, _ = holder.checkpoint("--pre-dump")
    second = "../second"
    holder.zrun("checkpoint", "--image-path", second, "--leave-running",
                "--parent-path", image, holder.name)
    sh = holder.guest.sh
    sh("cd %s; cp -r image* whole" % PLACE)
    again = "cd %s; rm -rf image*; cp -r whole %s; " % (PLACE, image[3:])
    try:
        for damage, line in DAMAGES:
            sh(again + damage)
            assert line in holder.refused("--parent-path", second)
        holder.zrun("delete", "--force", holder.name)
        for damage, line in DAMAGES:
            sh(again + damage)
            text = holder.zrun("restore", "--detach", "--image-path", second,
                               holder.name, code=1)
            assert line in text and text.count("\n") == 1
        sh(again)
        holder.restore(second)
        assert holder.ask() == 0
    finally:
        sh("cd %s; rm -rf whole second" % PLACE)


def test_what_cannot_be_a_parent(holder):
    """One that is no more the last, or another's."""
    image, _ = holder.checkpoint("--pre-dump")
    assert holder.ask("touch") == 0
    later, _ = holder.checkpoint("--leave-running")
    assert "not the last" in holder.refused("--parent-path", image)
    assert "../none: No such file" in holder.refused("--parent-path", "../none")
    holder.guest.sh("cd %s; cp -r %s refused" % (PLACE, later.lstrip("./")))
    assert "it is overwritten" in holder.refused("--parent-path", ".")
    last, size = holder.checkpoint("--parent-path", later)
    assert size < HELD / 10
    holder.restore(last)
    assert "not the last" in holder.refused("--parent-path", later)
    assert holder.ask() == 0
