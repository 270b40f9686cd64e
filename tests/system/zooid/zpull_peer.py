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
import shutil
import socket
import sys

from messages import ZPULL_REPLY, ZPULL_REQUEST
from peer import Peer, text

PULL, PROGRESS, DROP = 1, 2, 4


def reply(client, verb, error=0, done=0, digest="", path="", fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    client.sendmsg([ZPULL_REPLY.pack(
        ZPULL_REPLY.size, verb, error, 0, done * 10**6, 40 * 10**6,
        digest.encode(), path.encode(), b"told to fail" if error else b"")],
        rights if fds else [])


class Puller(Peer):
    def __init__(self, directory):
        super().__init__(directory)
        self.data = pathlib.Path(os.environ["ZOOID_DATA"]) / "pull"

    def serve(self, client):
        data = client.recv(ZPULL_REQUEST.size)
        if not data:
            self.gone(client)
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
        word, what = self.order("pull")
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


if __name__ == "__main__":
    Puller(sys.argv[1]).run()
