#!/usr/bin/python3
"""What `make run` starts once all is built: one node with one application.

    run.py             image, disk, boot, page, status; then runs until Ctrl-C
    ONCE=1 run.py      the same, then ends and exits 0
    run.py console     talk to the console of the node that runs
    run.py console LINE...   one line of it
    ARCH=aarch64 run.py      the other architecture

The node lives in build/run: disk-ARCH.img (kept between runs, so /data is
too; remove it for a first boot again), serial.log, console (a socket)."""

import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from zooid import BUILD, Disk, Late, Node, image, web  # noqa: E402

RUN = pathlib.Path(os.environ.get("ZOOID_RUN_DIR", BUILD / "run"))
PORT = 8080
NODE_JSON = {
    "name": "first",
    "apps": [{"name": "web", "image": "images/httpd",
              "ports": ["%d:80" % PORT]}],
}
BOOT_S = 120
START = time.monotonic()


def say(text):
    print("[%5.1f s] %s" % (time.monotonic() - START, text), flush=True)


def show(path):
    """Relative to here where that is shorter."""
    path = pathlib.Path(path)
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if here in path.parents else path)


def disk_of_run(arch):
    path = RUN / ("disk-%s.img" % arch)
    layout = image.httpd(arch=arch)
    say("image: busybox httpd, %s" % show(layout))
    content = {"node.json": json.dumps(NODE_JSON, indent=1) + "\n",
               "images/httpd": layout}
    if path.exists():
        disk = Disk(path)
        say("disk: %s, from the last run" % show(path))
    else:
        disk = Disk.make(path, content, size_mb=1024)
        say("disk: %s, 1 GB, node.json and the image on its ZOOID partition"
            % show(path))
    return disk


def serve_console(node, stop):
    """One line in, its answer out, on build/run/console."""
    path = RUN / "console"
    if path.exists():
        path.unlink()
    # Relative, for a path to a socket has at most 107 bytes.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(path))
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


def ask_console(line):
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(os.path.relpath(RUN / "console"))
        except OSError:
            sys.exit("run.py: no node runs here; start one with `make run`")
        sock.sendall(line.encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)
        sys.stdout.write(sock.makefile().read())


def console(words):
    if words:
        ask_console(" ".join(words))
        return
    print("The node's console; `help` lists its verbs, Ctrl-D leaves.")
    while True:
        try:
            line = input("zooid> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line:
            ask_console(line)


def run(once):
    arch = os.environ.get("ARCH", "x86_64")
    RUN.mkdir(parents=True, exist_ok=True)
    disk = disk_of_run(arch)
    node = Node("run", arch=arch, disks=[disk], ports=[PORT], directory=RUN,
                dev=False, deadline_s=BOOT_S)
    say("boot: %s in QEMU, %d MB" % (show(node.kernel), node.memory_mb))
    with node:
        said = node.wait_for(r"zooid: ready in .*")
        say("node: " + said[0])
        url = "http://127.0.0.1:%d/" % node.port(PORT)
        page = web.fetch(url, BOOT_S)
        say("page: %s says %r" % (url, page.strip()))
        for line in ("status", "ps"):
            print("\nzooid> %s\n%s" % (line, node.console(line)), end="")
        if once:
            print()
            say("done; ending the node")
            node.console_poweroff()
            return
        stop = threading.Event()
        serve_console(node, stop)
        script = show(__file__)
        print("""
The node goes on. Next, in another terminal:
    curl %scgi-bin/client      the application sees who asks
    %s console            talk to the node (`help`)
    tail -f %s       what it says
Ctrl-C ends it.""" % (url, script, show(RUN / "serial.log")), flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            node.process.wait()
            say("the node has switched itself off")
        except KeyboardInterrupt:
            stop.set()
            print()
            say("ending the node")
            node.console_poweroff()


def main():
    words = sys.argv[1:]
    if words and words[0] == "console":
        console(words[1:])
    elif words:
        sys.exit(__doc__)
    else:
        try:
            run(os.environ.get("ONCE") == "1")
        except Late as error:
            sys.exit("make run: %s" % error)
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
