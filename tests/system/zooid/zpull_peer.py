"""Stands where zpull would, for the tests of znode alone: "pulls" out of
folders, and fails when told to.

    zpull_peer.py DIRECTORY    run by init as service zpull

DIRECTORY/registry/HEX is the layout of the image whose manifest, or index, has
that digest. Each request becomes a line in DIRECTORY/requests: "pull IMAGE",
"pull-hub IMAGE", "drop PATH". A file DIRECTORY/next-pull, used once, changes the
answer: "error N" fails, "hang" never answers, "half" tells of progress and then
never answers, "lie HEX" fetches that image instead."""

import array
import errno
import fcntl
import json
import os
import pathlib
import selectors
import shutil
import socket
import sys

from messages import ZPULL_REPLY, ZPULL_REQUEST

PULL, PROGRESS, DROP = 1, 2, 3
LISTEN_FD, STATUS_FD = 3, 4
PING_S = 5


def text(field):
    return field.split(b"\0")[0].decode()


def reply(client, verb, error=0, done=0, digest="", path="", fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    client.sendmsg([ZPULL_REPLY.pack(
        ZPULL_REPLY.size, verb, error, 0, done * 10**6, 40 * 10**6,
        digest.encode(), path.encode(), b"told to fail" if error else b"")],
        rights if fds else [])


class Peer:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.data = pathlib.Path(os.environ["ZOOID_DATA"]) / "pull"
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(fileno=LISTEN_FD)
        self.selector.register(self.listener, selectors.EVENT_READ,
                               self.accept)

    def order(self):
        path = self.directory / "next-pull"
        try:
            words = path.read_text().split()
            path.unlink()
        except FileNotFoundError:
            return "", ""
        return words[0], words[1] if len(words) > 1 else ""

    def log(self, *words):
        with open(self.directory / "requests", "a") as log:
            log.write(" ".join(words) + "\n")

    def accept(self, _):
        client, _ = self.listener.accept()
        client.setblocking(True)
        self.selector.register(client, selectors.EVENT_READ, self.serve)

    def serve(self, client):
        data = client.recv(ZPULL_REQUEST.size)
        if not data:
            self.selector.unregister(client)
            client.close()
            return
        _, verb, flags, _, image, digest, path = ZPULL_REQUEST.unpack(data)
        if verb == DROP:
            self.log("drop", text(path))
            shutil.rmtree(self.data / text(path), ignore_errors=True)
            reply(client, DROP)
            return
        self.log("pull-hub" if flags & 1 else "pull", text(image))
        self.pull(client, text(digest).partition(":")[2])

    def pull(self, client, named):
        word, what = self.order()
        if word == "half":
            reply(client, PROGRESS, done=12)
        if word in ("half", "hang"):
            return
        fetched = what if word == "lie" else named
        layout = self.directory / "registry" / fetched
        if word == "error" or not layout.exists():
            reply(client, PULL, -int(what) if what else -errno.ENOENT)
            return
        shutil.copytree(layout, self.data / fetched, dirs_exist_ok=True)
        index = json.loads((layout / "index.json").read_text())
        manifest = index["manifests"][0]["digest"]
        fds = [self.sealed(layout / "blobs/sha256" / named)] \
            if manifest != "sha256:" + named else []
        reply(client, PULL, digest=manifest, path=fetched, fds=fds)
        for fd in fds:
            os.close(fd)

    @staticmethod
    def sealed(path):
        fd = os.memfd_create("index", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(fd, path.read_bytes() if path.exists() else b"")
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
        return fd

    def serve_one(self, key):
        try:
            key.data(key.fileobj)
        except (BrokenPipeError, ConnectionResetError):  # znode was killed
            self.selector.unregister(key.fileobj)
            key.fileobj.close()

    def run(self):
        os.write(STATUS_FD, b"R")
        while True:
            for key, _ in self.selector.select(PING_S):
                self.serve_one(key)
            os.write(STATUS_FD, b"P")


if __name__ == "__main__":
    Peer(sys.argv[1]).run()
