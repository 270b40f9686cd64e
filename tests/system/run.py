#!/usr/bin/python3
"""What `make run` starts once all is built: a hub on this machine, nodes in
QEMU that join it, an application on all of them.

    run.py             all of it; then runs until Ctrl-C
    ONCE=1 run.py      the same, then ends and exits 0
    NODES=3 run.py     three nodes instead of two
    ARCH=aarch64 run.py      the other board
    run.py zctl ARGUMENT...       the operator's command, for that hub
    run.py console NODE           talk to the console of a node
    run.py console NODE LINE...   one line of it

All that it keeps lies in build/run, made anew each time: the hub's folder,
n1.img ... (the nodes' disks), compose.yaml, and of each node serial.log."""

import fcntl
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "hub")]

import colony as colonies  # noqa: E402
from zooid import BUILD, Late, image, web  # noqa: E402

RUN = pathlib.Path(os.environ.get("ZOOID_RUN_DIR", BUILD / "run"))
NODES_MAX = 16
BOOT_S = 180
START = time.monotonic()


def say(text):
    print("[%5.1f s] %s" % (time.monotonic() - START, text), flush=True)


def show(path):
    """Relative to here where that is shorter."""
    path = pathlib.Path(path)
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if here in path.parents else path)


# Consoles, for another terminal.

def serve_console(name, node, stop):
    """One line in, its answer out, on build/run/NAME/console."""
    # Relative, for a path to a socket has at most 107 bytes.
    path = os.path.relpath(RUN / name / "console")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4)

    def serve():
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    line = connection.makefile().readline().strip()
                    connection.sendall(node.console(line).encode())
                except (OSError, Late) as error:
                    print(error, file=sys.stderr)
    threading.Thread(target=serve, daemon=True).start()


def ask_console(name, line):
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(os.path.relpath(RUN / name / "console"))
        except OSError:
            sys.exit("run.py: no node %s runs here; start with `make run`"
                     % name)
        sock.sendall(line.encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)
        sys.stdout.write(sock.makefile().read())


def console(name, words):
    if words:
        ask_console(name, " ".join(words))
        return
    print("The console of %s; `help` lists its verbs, Ctrl-D leaves." % name)
    while True:
        try:
            line = input("zooid> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line:
            ask_console(name, line)


def zctl(words):
    os.environ["ZOOID_HUB"] = str(RUN / "hub")
    program = colonies.BIN / "zctl"
    os.execv(program, [program, *words])


# The run.

def names():
    text = os.environ.get("NODES", "2")
    if not text.isdigit() or not 1 <= int(text) <= NODES_MAX:
        sys.exit("make run: NODES=%s: want 1 to %d" % (text, NODES_MAX))
    return ["n%d" % (i + 1) for i in range(int(text))]


def boot(colony, wanted):
    for name in wanted:
        colony.boot(name)
    say("nodes: %s boot %s in QEMU, %d MB each; the token is in node.json" % (
        ", ".join(wanted), show(colony.nodes[wanted[0]].kernel),
        colony.nodes[wanted[0]].memory_mb))
    for name in wanted:
        node = colony.nodes[name]
        node.wait_ready(BOOT_S)
        ready = node.wait_for(r"zooid: ready in \d+ ms, .* ms", BOOT_S)
        say("%s: %s" % (name, ready[0]))
    colony.wait_nodes(wanted, BOOT_S)
    say("nodes: enrolled and connected")


def page_urls(colony):
    for name, node in colony.nodes.items():
        url = "http://127.0.0.1:%d/" % node.port(colonies.PORT)
        page = web.fetch(url, BOOT_S, node.process)
        say("page: %s at %s says %r" % (name, url, page.strip()))
        yield url


def tables(colony):
    for words in (["nodes"], ["ps"]):
        print("\n$ zctl %s\n%s" % (" ".join(words), colony.zctl(*words)),
              end="")


def tell_next(colony, url):
    script = show(__file__)
    print("""
All goes on. Next, in another terminal:
    curl %scgi-bin/client      the application sees who asks
    %s zctl logs -f n1/web     what it says, through the hub
    %s zctl rm shop            take it away from every node
    %s console n1              what a person at the machine sees
Ctrl-C ends it.""" % (url, script, script, script), flush=True)


def wait_ctrl_c(colony):
    stop = threading.Event()
    for name, node in colony.nodes.items():
        serve_console(name, node, stop)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for node in colony.nodes.values():
            node.process.wait()
        say("the nodes have switched themselves off")
    except KeyboardInterrupt:
        print()
    stop.set()


def power_off(colony):
    say("ending the nodes and the hub")
    for node in colony.nodes.values():
        if node.process.poll() is None:
            node.log.send("\rpoweroff\r")
    for node in colony.nodes.values():
        node.wait_end(60)


def lock():
    """A descriptor that says, as long as it is open, that the folder is in
    use. The file lies beside it, for the folder is made anew."""
    fd = os.open("%s.lock" % RUN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("make run: already running here (pid %s), in %s: end that "
                 "with Ctrl-C first, or use another checkout" % (
                     os.read(fd, 20).decode().strip() or "?", show(RUN)))
    os.truncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())
    return fd


def run(once):
    wanted = names()
    lock()
    if RUN.exists():
        shutil.rmtree(RUN)
    with colonies.Colony(RUN, os.environ.get("ARCH", "x86_64")) as colony:
        say("hub: zhub at https://localhost:%d, folder %s" % (
            colony.hub.port, show(colony.hub.directory)))
        layout = image.httpd(colony.arch)
        colony.push(layout)
        say("image: busybox httpd, pushed with skopeo as hub/httpd:latest")
        boot(colony, wanted)
        say("apply: zctl apply -f %s --node %s --wait" % (
            show(colony.compose()), ",".join(wanted)))
        colony.apply(*wanted)
        urls = list(page_urls(colony))
        tables(colony)
        print()
        if once:
            power_off(colony)
            return
        tell_next(colony, urls[0])
        wait_ctrl_c(colony)
        power_off(colony)


def main():
    words = sys.argv[1:]
    if words[:1] == ["console"] and len(words) > 1:
        console(words[1], words[2:])
    elif words[:1] == ["zctl"]:
        zctl(words[1:])
    elif words:
        sys.exit(__doc__)
    else:
        try:
            run(os.environ.get("ONCE") == "1")
        except (Late, RuntimeError, subprocess.CalledProcessError) as error:
            sys.exit("make run: %s" % error)
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
