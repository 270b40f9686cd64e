"""Stands where `zrun serve` would, for the tests of znode alone: takes the same
messages, starts a plain process as a "container", and fails when told to.

    zrun_peer.py DIRECTORY    run by init as service zrun

Each request becomes a line "VERB ID" in DIRECTORY/requests, "forget DIGEST".
The file DIRECTORY/images holds the digests of the images in store; a layout that was
pulled is copied to $ZOOID_DATA/images, as zrun does. A file
DIRECTORY/next-VERB, used once, changes the answer: "error N" fails, "hang"
never answers, "die" does the work and dies before it answers, "exit N" starts a
container that ends at once."""

import array
import ctypes
import errno
import json
import os
import pathlib
import shutil
import signal
import socket
import sys

from messages import INIT_REPLY, INIT_REQUEST, ZRUN_REPLY, ZRUN_REQUEST
from peer import Peer, text

VERBS = {1: "start", 2: "kill", 3: "delete", 5: "unpack", 6: "forget",
         8: "list", 9: "images", 16: "freezer", 17: "grants", 19: "full",
         20: "listen", 23: "checkpoints"}
QUIET = "grants", "full", "listen", "checkpoints"
INIT_PUT, KIND_PIDFD = 1, 0
CLONE_PARENT = 0x8000
SYS_CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
SHELL = "/bin/sh"
_libc = ctypes.CDLL(None, use_errno=True)


class Runner(Peer):
    def __init__(self, directory):
        super().__init__(directory)
        self.init = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.init.connect(os.environ["ZOOID_RUN"] + "/init.sock")

    def serve(self, client):
        data, control, _, _ = client.recvmsg(
            ZRUN_REQUEST.size, socket.CMSG_SPACE(16))
        if not data:
            self.gone(client)
            return
        for _, _, fds in control:
            for fd in array.array("i", fds[:len(fds) // 4 * 4]):
                os.close(fd)
        _, verb, arg, flags, name, digest, path, note = ZRUN_REQUEST.unpack(
            data)
        self.pulled = text(path) if verb == 5 and flags & 1 else None
        self.digest = text(digest)
        verb, name = VERBS[verb], text(digest if verb == 6 else name)
        if verb not in QUIET:
            self.log(verb, name)
        word, number = self.order(verb)
        number = int(number or 0)
        self.answer = ""
        error, pid = (-number, 0) if word == "error" else \
            getattr(self, verb)(name, arg, note,
                                number if word == "exit" else None)
        if word == "hang":
            return
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        client.send(ZRUN_REPLY.pack(
            ZRUN_REPLY.size, data[4], error, pid, name.encode(),
            b"told to fail" if error else self.answer.encode(), b""))

    def start(self, name, _arg, note, status):
        script = "exit %d" % status if status is not None else \
            "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
        release, held = os.pipe()
        pid = _libc.syscall(SYS_CLONE, CLONE_PARENT, 0, 0, 0, 0)
        if pid == 0:
            os.close(held)
            os.read(release, 1)
            os.execv(SHELL, [SHELL, "-c", script])
        pidfd = os.pidfd_open(pid)
        self.init.sendmsg(
            [INIT_REQUEST.pack(INIT_REQUEST.size, INIT_PUT, KIND_PIDFD, 0,
                               name.encode(), bytes(16), 0, 0, 0, note)],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
              array.array("i", [pidfd]))])
        error = INIT_REPLY.unpack(self.init.recv(INIT_REPLY.size))[2]
        (self.directory / name).write_text(str(pid))
        for fd in (pidfd, release, held):
            os.close(fd)
        return error, pid

    def kill(self, name, number, _note, _status):
        try:
            os.kill(int((self.directory / name).read_text()), number)
        except OSError as error:
            return -error.errno, 0
        return 0, 0

    def nothing(self, *_):
        return 0, 0

    delete = grants = nothing

    def list(self, *_):
        """Nothing sleeps here."""
        return -errno.ENOENT, 0

    full = listen = checkpoints = list

    def freezer(self, *_):
        """A plain process has none."""
        return -errno.ESRCH, 0

    def unpack(self, *_):
        if self.pulled is None:
            return 0, 0
        data = pathlib.Path(os.environ["ZOOID_DATA"])
        layout, store = data / "pull" / self.pulled, data / "images"
        index = json.loads((layout / "index.json").read_text())
        if not any(m["digest"] == self.digest for m in index["manifests"]):
            return -errno.ENOENT, 0
        listed = store / "index.json"
        if listed.exists():
            there = json.loads(listed.read_text())["manifests"]
            if any(m["digest"] == self.digest for m in there):
                return 0, 0
            index["manifests"] += there
        shutil.copytree(layout / "blobs", store / "blobs",
                        dirs_exist_ok=True)
        fresh = store / "index.new"
        fresh.write_text(json.dumps(index))
        fresh.rename(listed)
        with open(self.directory / "images", "a") as images:
            images.write(self.digest + "\n")
        return 0, 0

    def stored(self):
        path = self.directory / "images"
        return path.read_text().split() if path.exists() else []

    def images(self, _name, number, *_):
        if number >= len(self.stored()):
            return -errno.ENOENT, 0
        self.answer = self.stored()[number]
        return 0, 0

    def forget(self, digest, *_):
        left = [image for image in self.stored() if image != digest]
        (self.directory / "images").write_text("\n".join(left))
        listed = pathlib.Path(os.environ["ZOOID_DATA"]) / "images/index.json"
        if listed.exists():
            index = json.loads(listed.read_text())
            index["manifests"] = [m for m in index["manifests"]
                                  if m["digest"] != digest]
            listed.write_text(json.dumps(index))
        return 0, 0

    def serve_one(self, key):
        try:
            key.data(key.fileobj)
        except (BrokenPipeError, ConnectionResetError):  # znode was killed
            self.selector.unregister(key.fileobj)
            key.fileobj.close()


if __name__ == "__main__":
    Runner(sys.argv[1]).run()
