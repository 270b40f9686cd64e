#!/usr/bin/python3
"""A block device that keeps no more promises than a real one.

It serves one file over NBD (fixed newstyle) on a unix socket. Two versions
of the disk exist: `seen`, what the machine reads back (a sparse memfd), and
the file, what would survive a power cut. A write changes only `seen` and is
remembered in `pending`; a flush applies all that is pending to the file, in
order, and only then answers; a write with FUA is always kept, whole.

cut() is the power cut: the connection ends, and of the pending writes a
random subset, drawn from the seed, reaches the file; the last of them only
up to a multiple of 512 bytes. Then the disk is as a machine finds it that
starts again, and serves again.

With ignore_flush a flush answers without doing anything: a disk that lies.
A test of what survives a cut is worth nothing until it fails with that.

As a program: flakydisk.py [--seed N] [--ignore-flush] FILE SOCKET; SIGHUP
cuts."""

import argparse
import errno
import os
import random
import signal
import socket
import struct
import threading
import typing

SECTOR = 512
COPY_BYTES = 1 << 20
REQUEST_BYTES_MAX = 32 << 20

NBD_MAGIC = 0x4E42444D41474943
OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
REPLY_MAGIC = 0x67446698
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_INFO, OPT_GO = 1, 2, 3, 6, 7
REP_ACK, REP_SERVER, REP_INFO, REP_ERR_UNSUP = 1, 2, 3, 0x80000001
CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_ZEROES = 0, 1, 2, 3, 4, 6
CMD_FLAG_FUA = 1
HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_ZEROES = 1, 4, 8, 64
EXPORT_FLAGS = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_ZEROES


class Write(typing.NamedTuple):
    offset: int
    data: bytes
    sure: bool  # FUA: acknowledged as stable


class FlakyDisk:
    """Serves `path` on unix socket `socket_path` until close().

    `fail` (an errno, or None) answers every write and flush with that error;
    `fail_reads` likewise reads. `delay_s` holds each answer back.
    `on_write(disk)` is called before each write is taken: a test's trigger
    for a cut at the n-th write."""

    def __init__(self, path, socket_path, seed=1, ignore_flush=False):
        self.path = str(path)
        self.socket_path = str(socket_path)
        self.random = random.Random(seed)
        self.ignore_flush = ignore_flush
        self.fail = None
        self.fail_reads = None
        self.delay_s = 0.0
        self.on_write = None
        self.writes = self.flushes = self.cuts = 0
        self._lock = threading.RLock()
        self._pending = []
        self._interrupted = threading.Event()
        self._connections = set()
        self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self.size = os.fstat(self._file).st_size
        self._seen = -1
        self._load()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if os.path.exists(self.socket_path):
            os.unlink(self.socket_path)
        self._listener.bind(self.socket_path)
        self._listener.listen(4)
        threading.Thread(target=self._accept, daemon=True).start()

    # What a test does.

    def cut(self):
        """The power goes; returns (kept, lost), numbers of pending writes."""
        with self._lock:
            self._interrupted.set()
            for connection in list(self._connections):
                shut(connection)
            pending, self._pending = self._pending, []
            # Where the line falls is drawn too, so that a cut that loses
            # nearly all and one that loses nearly nothing both occur.
            keep = self.random.random()
            kept = [w for w in pending
                    if w.sure or self.random.random() < keep]
            for write in kept:
                size = len(write.data)
                if write is kept[-1] and not write.sure:
                    size = self.random.randint(0, size // SECTOR) * SECTOR
                os.pwrite(self._file, write.data[:size], write.offset)
            self._load()
            self.cuts += 1
            self._interrupted = threading.Event()
            return len(kept), len(pending) - len(kept)

    def close(self):
        """An orderly end: all that was written is kept."""
        with self._lock:
            self._apply_pending()
            shut(self._listener)
            self._listener.close()
            for connection in list(self._connections):
                shut(connection)
            self._interrupted.set()
            if self._file >= 0:
                os.close(self._file)
                os.close(self._seen)
            self._file = self._seen = -1
        if os.path.exists(self.socket_path):
            os.unlink(self.socket_path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # The disk.

    def _load(self):
        """Makes `seen` from the file; holes stay holes."""
        if self._seen >= 0:
            os.close(self._seen)
        self._seen = os.memfd_create("flakydisk")
        os.ftruncate(self._seen, self.size)
        at = 0
        while at < self.size:
            try:
                at = os.lseek(self._file, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            end = os.lseek(self._file, at, os.SEEK_HOLE)
            while at < end:
                data = os.pread(self._file, min(COPY_BYTES, end - at), at)
                os.pwrite(self._seen, data, at)
                at += len(data)

    def _apply_pending(self):
        for write in self._pending:
            os.pwrite(self._file, write.data, write.offset)
        self._pending = []

    def _write(self, offset, data, fua):
        if self.fail:
            return self.fail
        if offset + len(data) > self.size:
            return errno.ENOSPC
        os.pwrite(self._seen, data, offset)
        self.writes += 1
        sure = bool(fua) and not self.ignore_flush
        self._pending.append(Write(offset, data, sure))
        return 0

    def _flush(self):
        if self.fail:
            return self.fail
        self.flushes += 1
        if not self.ignore_flush:
            self._apply_pending()
        return 0

    def _read(self, offset, size):
        if self.fail_reads:
            return self.fail_reads, b""
        if offset + size > self.size:
            return errno.EINVAL, b""
        return 0, os.pread(self._seen, size, offset)

    # The protocol.

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
                # Of the machine that connects: set when its power goes.
                interrupted = self._interrupted
            threading.Thread(target=self._serve, daemon=True,
                             args=(connection, interrupted)).start()

    def _serve(self, connection, interrupted):
        try:
            if self._negotiate(connection):
                while self._request(connection, interrupted):
                    pass
        except OSError:
            pass  # the client went away, or the power did
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _negotiate(self, connection):
        connection.sendall(struct.pack(">QQH", NBD_MAGIC, OPTION_MAGIC, 3))
        flags, = struct.unpack(">I", receive(connection, 4))
        no_zeroes = flags & 2
        while True:
            magic, option, size = struct.unpack(
                ">QII", receive(connection, 16))
            if magic != OPTION_MAGIC or size > 4096:
                return False
            data = receive(connection, size)
            if option == OPT_EXPORT_NAME:
                connection.sendall(struct.pack(">QH", self.size, EXPORT_FLAGS)
                                   + (b"" if no_zeroes else bytes(124)))
                return True
            if option in (OPT_INFO, OPT_GO) and len(data) >= 6:
                option_reply(connection, option, REP_INFO, struct.pack(
                    ">HQH", 0, self.size, EXPORT_FLAGS))
                option_reply(connection, option, REP_ACK)
                if option == OPT_GO:
                    return True
            elif option == OPT_LIST:
                option_reply(connection, option, REP_SERVER, bytes(4))
                option_reply(connection, option, REP_ACK)
            elif option == OPT_ABORT:
                option_reply(connection, option, REP_ACK)
                return False
            else:
                option_reply(connection, option, REP_ERR_UNSUP)

    def _request(self, connection, interrupted):
        magic, flags, command, handle, offset, size = struct.unpack(
            ">IHHQQI", receive(connection, 28))
        if magic != REQUEST_MAGIC or command == CMD_DISC:
            return False
        data = b""
        if command == CMD_WRITE:
            if size > REQUEST_BYTES_MAX:
                return False
            data = receive(connection, size)
        if self.delay_s:
            interrupted.wait(self.delay_s)
        if self.on_write and command in (CMD_WRITE, CMD_ZEROES):
            self.on_write(self)
        with self._lock:
            # Nothing of the old machine reaches the disk after the cut.
            if interrupted.is_set():
                return False
            error, answer = self._carry_out(
                command, offset, size, data, flags & CMD_FLAG_FUA)
        connection.sendall(
            struct.pack(">IIQ", REPLY_MAGIC, error, handle) + answer)
        return True

    def _carry_out(self, command, offset, size, data, fua):
        """(errno, bytes read)."""
        if command == CMD_READ:
            return self._read(offset, size)
        if command == CMD_WRITE:
            return self._write(offset, data, fua), b""
        if command == CMD_ZEROES:
            return self._write(offset, bytes(size), fua), b""
        if command == CMD_FLUSH:
            return self._flush(), b""
        return errno.EINVAL, b""


def option_reply(connection, option, kind, data=b""):
    connection.sendall(struct.pack(
        ">QIII", OPTION_REPLY_MAGIC, option, kind, len(data)) + data)


def receive(connection, size):
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), COPY_BYTES))
        if not part:
            raise ConnectionResetError("peer closed")
        data += part
    return bytes(data)


def shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ignore-flush", action="store_true")
    parser.add_argument("file")
    parser.add_argument("socket")
    args = parser.parse_args()
    signals = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with FlakyDisk(args.file, args.socket, args.seed,
                   args.ignore_flush) as disk:
        while signal.sigwait(signals) == signal.SIGHUP:
            print("cut: kept %d, lost %d" % disk.cut(), flush=True)


if __name__ == "__main__":
    main()
