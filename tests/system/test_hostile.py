"""What processes inside a node may do to init: garbage, orphans, bombs."""

import re
import time

import pytest

from zooid import FULL, medium, web
from zooid.agent import PROGRAM

PORT = medium.WEB_PORT
DYING_S = 3600 if FULL else 60
# Who may connect, and the size of a request, so that some get through.
NOBODY, ROOT = 65534, 0
SOCKETS = {"init": (NOBODY, 292), "zrun": (NOBODY, 600),
           "znode": (NOBODY, 80), "znet": (ROOT, 64), "zlog": (ROOT, 64)}


@pytest.mark.parametrize("name", SOCKETS)
def test_garbage_on_a_socket(node, rng, name):
    started = node.fetch(PORT, "/cgi-bin/started")
    node.agent.ask("garbage", "/run/zooid/%s.sock" % name,
                   rng.randrange(1 << 30), 2000, *SOCKETS[name])
    assert node.console("status")
    assert node.fetch(PORT) == web.PAGE
    assert node.fetch(PORT, "/cgi-bin/started") == started


def test_ten_thousand_orphans(node):
    before = node.agent.processes()
    node.agent.ask("orphans", 10000, deadline_s=120)
    assert node.console("status")
    assert node.agent.processes() <= before + 2
    assert node.fetch(PORT) == web.PAGE


def test_fork_bomb_in_a_container(boot, scratch, httpd):
    """It reaches its limit of processes and stays there; others are served."""
    text = medium.node_json(medium.web_app(), medium.web_app(
        name="bomb", ports=[], restart="no",
        command=["sh", "-c", "b() { b | b & b; }; echo boom; b"]))
    disk = medium.web(scratch / "disk", httpd, text=text)
    node = boot(disks=[disk], ports=[PORT], agent=True)
    node.wait_ready()
    node.wait_console("log bomb", "boom", 120)
    group = "/run/zooid/cgroups/bomb-1/"
    assert int(node.agent.read(group + "pids.max")) <= 1024
    end = time.monotonic() + 120
    while not re.search("^max [1-9]", node.agent.read(group + "pids.events")):
        assert time.monotonic() < end
    node.wait_console(
        "ps", r"bomb .*running.*ran into its limit of \d* ?processes", 60)
    assert node.agent.processes() < 1200
    assert node.fetch(PORT, deadline_s=120) == web.PAGE
    assert node.console("status", 60)
    node.console_poweroff(60)


def test_container_that_lacks_memory_is_named(boot, scratch, httpd):
    """It ends at its limit, with the reason, or goes on without the process
    that was killed; others are served."""
    greedy = "x=a; while :; do x=$x$x; done"
    text = medium.node_json(medium.web_app(), medium.web_app(
        name="hog", ports=[], restart="no", memory="16m",
        command=["sh", "-c", greedy]), medium.web_app(
        name="nurse", ports=[], restart="no", memory="16m",
        command=["sh", "-c", "sh -c '%s'; sleep 1000" % greedy]))
    disk = medium.web(scratch / "disk", httpd, text=text)
    node = boot(disks=[disk], ports=[PORT], agent=True)
    node.wait_ready()
    node.wait_console(
        "ps", r"hog .*out of memory \(its limit is 16 MB\)", 120)
    node.wait_console(
        "ps", r"nurse .*running.*ran out of its 16 MB of memory", 60)
    assert node.fetch(PORT) == web.PAGE
    node.console_poweroff(60)


@pytest.mark.deadline(DYING_S + 180)
def test_service_that_dies_at_once(node):
    """Back-off is seen, the rest of the node goes on, and once the program
    is whole again the service is back."""
    program = PROGRAM["zlog"]
    node.agent.ask("break", program)
    node.agent.kill(node.agent.pids_of("service/zlog")[0])
    end = time.monotonic() + DYING_S
    last, starts = 0, []
    while time.monotonic() < end:
        match = node.wait_for(r"init: zlog: .*starts again in (\d+) ms", 60, last)
        last = match.end()
        starts.append(int(match[1]))
    assert starts[:2] == [1, 100] and starts[-1] >= 10000
    assert all(b in (2 * a, 30000) for a, b in zip(starts[1:], starts[2:]))
    assert node.fetch(PORT) == web.PAGE
    node.agent.ask("mend", program)
    node.wait_console("status", r"^zlog +ready ", 90)


def test_agent_cannot_be_mistaken_for_a_service(node):
    """The unknown child that the tests give init is no service."""
    assert not re.search(r"\bagent\b", node.console("status"))
