"""What an idle container costs a node beyond its application.

A node of 512 MB in QEMU runs one container, then 200 more of the same image.
What free memory falls by, beyond what is given back when memory is short
(press.py), is the kernel's and the daemons' share too. Of it the application's
own is taken off: the PSS of its process, its page tables and its kernel
stack."""

import re
import tempfile

from colony import Colony
from press import free_kb
from row import Row
from zooid.build import test_directory

CONTAINERS = 200
STACK_KB = 16
SERVICE = """\
  idle-%d:
    image: hub/httpd:latest
    command: [sleep, "1000000"]
"""


def compose(n):
    return "name: shop\nservices:\n" + "".join(
        SERVICE % i for i in range(n))


def own_kb(node):
    """Of the process of the first container."""
    pid = re.search(r'"pid": ?(\d+)', node.agent.run(
        "/bin/znode", "ps", "-o", "json"))[1]

    def field(file, name):
        return int(re.search(r"^%s:\s+(\d+) kB" % name, node.agent.read(
            "/proc/%s/%s" % (pid, file)), re.M)[1])
    return field("smaps_rollup", "Pss") + field("status", "VmPTE") + STACK_KB


def density():
    with tempfile.TemporaryDirectory(dir=test_directory()) as directory, \
            Colony(directory) as colony:
        node = colony.boot("n1", ports=[], memory_mb=512, agent=True)
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.push()
        colony.apply("n1", text=compose(1))
        before, processes = free_kb(node), node.agent.processes()
        colony.zctl("apply", "-f", colony.compose(compose(CONTAINERS + 1)),
                    "--node", "n1", "--wait", timeout=300)
        used = (before - free_kb(node)) / CONTAINERS
        more = node.agent.processes() - processes
        own = own_kb(node)
    yield Row("density: a container, beyond its application", used - own,
              "KB", bound=300)
    yield Row("density: its application", own, "KB")
    yield Row("density: processes beside %d containers'" % CONTAINERS,
              more - CONTAINERS, "", bound=0)


GROUPS = [density]
