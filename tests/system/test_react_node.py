"""A node freezes a service, puts it to sleep, and who asks wakes it, on our
kernel."""

import json
import re
import signal
import time

import pytest

from zooid import build, image, medium, react_host, web
from zooid.agent import AgentError

PORT = medium.WEB_PORT


def row(node):
    return json.loads(node.agent.run("/bin/znode", "ps", "-o", "json"))[0]


def switch(node):
    return node.agent.read("/run/zooid/cgroups/%s/cgroup.freeze" %
                           row(node)["container"]).strip()


def freeze(node):
    node.agent.run("/bin/znode", "freeze", "web")
    assert switch(node) == "1" and row(node)["state"] == "frozen"


def test_frozen_then_asked(node):
    started = node.fetch(PORT, "/cgi-bin/started")
    for wakes in range(1, 4):
        freeze(node)
        assert node.fetch(PORT) == web.PAGE
        now = row(node)
        assert (now["state"], now["wakes"]) == ("running", wakes)
        assert switch(node) == "0"
    assert node.fetch(PORT, "/cgi-bin/started") == started
    for name in ("znet", "znode"):
        freeze(node)
        node.agent.kill(node.agent.pids_of("service/" + name)[0],
                        signal.SIGKILL)
        assert node.fetch(PORT) == web.PAGE
    node.wait_console("ps", r"^web .*running")
    assert node.fetch(PORT, "/cgi-bin/started") == started


def test_asleep_then_asked(node):
    """Woken as the instance that it was, also when serve was killed meanwhile;
    while it sleeps it has no process."""
    was = row(node)["container"]
    for wakes in range(1, 4):
        pid = row(node)["pid"]
        node.agent.run("/bin/znode", "sleep", "web")
        now = row(node)
        assert (now["state"], now["pid"]) == ("asleep", 0)
        with pytest.raises(AgentError, match="No such"):
            node.agent.read("/proc/%d/comm" % pid)
        if wakes == 3:
            node.agent.kill(node.agent.pids_of("service/zrun")[0],
                            signal.SIGKILL)
        assert node.fetch(PORT) == web.PAGE
        now = row(node)
        assert (now["state"], now["wakes"]) == ("running", wakes)
        assert now["container"] == was and now["restarts"] == 0


HELD = 8 << 20


def in_memory(node, order):
    """How many pages are wrong after that: pages.c, of the conformance
    tests."""
    return int(node.agent.run("/bin/sh", "-c", """
        /bin/znode exec web /bin/sh -c '
            rm -f /said; echo %s >/order; kill -USR1 1
            until cat /said 2>/dev/null; do usleep 10000; done
            ' </dev/null 2>&1 | cat""" % order))


def written(node):
    """Bytes, to the disk, when all is there that was to be."""
    node.agent.run("/bin/busybox", "sync")
    return 512 * int(node.agent.read("/sys/block/vda/stat").split()[6])


def test_sleeps_again(boot, scratch):
    """And writes what has changed since it slept before."""
    program = build.product("x86_64", "tests/pages").read_bytes()
    layout = image.make("pages", {"bin/pages": (0o755, program)}, [
        "--config.cmd", "/bin/pages", "--config.cmd", str(HELD >> 20)])
    text = medium.node_json(medium.web_app(ports=[]))
    node = boot(disks=[medium.web(scratch / "disk", layout, text=text)],
                agent=True)
    node.wait_ready()
    node.wait_console("ps", r"^web .*running")
    sizes = []
    for order in ("nothing", "touch", "exchange"):
        assert in_memory(node, order) == 0
        before = written(node)
        node.agent.run("/bin/znode", "sleep", "web")
        sizes.append(written(node) - before)
    assert in_memory(node, "nothing") == 0
    assert sizes[0] > HELD and max(sizes[1:]) < HELD / 2, sizes


DAEMONS = ("zlog", "zrun", "znode", "znet")


def held(node):
    """By init and its daemons: TUNs, pidfds, pipes, net namespaces."""
    pids = [node.agent.pids_of("service/" + name)[0] for name in DAEMONS]
    text = node.agent.run(
        "/bin/busybox", "sh", "-c", "for p in 1 %s; do ls -l /proc/$p/fd; done"
        % " ".join(map(str, pids)))
    return [len(re.findall(what, text)) for what in
            (r"/dev/net/tun", r"\[pidfd\]", r"pipe:\[", r"net:\[")]


def test_asleep_holds_nothing(node):
    """But its state, its checkpoint and its writable layer: no cgroup is left
    of it, nor any descriptor of it."""
    node.fetch(PORT)
    was, running = row(node)["container"], held(node)
    cgroup = node.agent.run("/bin/busybox", "readlink",
                            "/run/zooid/cgroups/" + was).strip()
    node.agent.read(cgroup + "/cgroup.procs")
    node.agent.run("/bin/znode", "sleep", "web")
    with pytest.raises(AgentError, match="No such"):
        node.agent.read(cgroup + "/cgroup.procs")
    # Of init and of another one each; a pool's have no TUN.
    assert [a - b for a, b in zip(running, held(node))] == [2, 2, 4, 0]
    node.fetch(PORT)
    assert held(node) == running


def test_what_every_container_costs(node):
    """No controllers without a limit, and one file system for what is masked."""
    was = row(node)["container"]
    assert set(node.agent.read("/run/zooid/cgroups/%s/cgroup.controllers" %
                               was).split()) == {"cpu", "io", "memory", "pids"}
    # The first one is made before there are buds.
    masks = []
    for _ in range(2):
        node.agent.run("/bin/znode", "restart", "web")
        node.fetch(PORT)
        mounts = node.agent.read("/proc/%d/mountinfo" % row(node)["pid"])
        masks += re.findall(r" (\d+:\d+) / /(?:proc|sys)/\S+ .* - tmpfs ",
                            mounts)
    assert len(masks) > 2 and len(set(masks)) == 1


HELD_MB = 24


def held_kb(node):
    """Of the container's processes, without the pages of files."""
    text = node.agent.read("/run/zooid/cgroups/%s/memory.stat" %
                           row(node)["container"])
    return int(re.search(r"^anon (\d+)", text, re.MULTILINE)[1]) // 1024


def may_swap(node):
    return node.agent.read("/run/zooid/cgroups/%s/memory.swap.max" %
                           row(node)["container"]).strip() != "0"


def until(is_so, deadline_s=60):
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end


def test_memory_of_the_frozen_is_pushed_out(boot, scratch):
    """And comes back as it was; what runs has no swap."""
    text = medium.node_json(medium.web_app(
        ports=["%d:%d" % (PORT, react_host.PORT)]))
    disk = medium.web(scratch / "disk", react_host.audited(), text=text)
    node = boot(disks=[disk], ports=[PORT], agent=True)
    node.wait_ready()
    node.wait_console("ps", r"^web .*running")
    until(lambda: "/dev/zram0" in node.agent.read("/proc/swaps"))
    client = react_host.Client(node.port(PORT))
    client.ask(react_host.COUNT, 0)
    client.ask(react_host.FILL, arg=HELD_MB)
    before = held_kb(node)
    assert before > HELD_MB << 10 and not may_swap(node)
    for number in (1, 2):
        freeze(node)
        until(lambda: held_kb(node) * 20 < before)
        until(lambda: not may_swap(node))
        assert client.ask(react_host.COUNT, number) == (0, number)
        assert client.ask(react_host.AUDIT, 3) == (0, number + 1)
    # What is turned round keeps the most of it, and has no swap again.
    client.ask(react_host.FILL, arg=HELD_MB)
    freeze(node)
    assert client.ask(react_host.COUNT, 3) == (0, 3)
    until(lambda: not may_swap(node))
    assert held_kb(node) > HELD_MB << 9
    client.close()
