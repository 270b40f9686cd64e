"""What an idle container costs a node beyond its application.

A node of 512 MB in QEMU runs one container, then 200 more of the same image,
then beside them 200 plain processes: the same file of the image's layer with
the same arguments, without a container. What free memory falls by, beyond what
is given back when memory is short (press.py), is all that somebody holds, the
kernel's and the daemons' share too. What a plain process takes is the
application; what a container takes more is its price."""

import json
import shlex
import tempfile

from colony import Colony
from press import free_kb
from row import Row
from zooid.build import test_directory

COUNT = 200
PROGRAM = ["sleep", "1000000"]
SERVICE = """\
  idle-%d:
    image: hub/httpd:latest
    command: %s
"""


def compose(n):
    return "name: shop\nservices:\n" + "".join(
        SERVICE % (i, json.dumps(PROGRAM)) for i in range(n))


def shell(node, script):
    return node.agent.run("/bin/busybox", "sh", "-c", script).strip()


def start_plain(node):
    """COUNT processes of the file that the containers run."""
    program = shell(node, "ls /data/layers/*/bin/busybox")
    shell(node, "i=0; while [ $i -lt %d ]; do i=$((i + 1)); "
          "%s %s </dev/null >/dev/null 2>&1 & done" % (
              COUNT, program, shlex.join(PROGRAM)))


def density():
    with tempfile.TemporaryDirectory(dir=test_directory()) as directory, \
            Colony(directory) as colony:
        node = colony.boot("n1", ports=[], memory_mb=512, agent=True)
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.push()
        colony.apply("n1", text=compose(1))
        before, processes = free_kb(node), node.agent.processes()
        colony.zctl("apply", "-f", colony.compose(compose(COUNT + 1)),
                    "--node", "n1", "--wait", timeout=300)
        after, more = free_kb(node), node.agent.processes() - processes
        start_plain(node)
        plain = after - free_kb(node)
        assert node.agent.processes() - processes - more > COUNT * 0.9
    own, whole = plain / COUNT, (before - after) / COUNT
    yield Row("density: a container, beyond its application", whole - own,
              "KB", bound=300)
    yield Row("density: its application", own, "KB")
    yield Row("density: processes beside %d containers'" % COUNT,
              more - COUNT, "", bound=0)


GROUPS = [density]
