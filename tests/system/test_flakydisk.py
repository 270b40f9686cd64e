"""The disk of the tests itself: what it keeps, what it loses, and that its
canary sings. The client is QEMU's, where order does not matter, else ours."""

import errno
import random
import socket
import struct
import subprocess
import threading

import pytest

from flakydisk import (CMD_FLAG_FUA, CMD_FLUSH, CMD_READ, CMD_WRITE,
                       EXPORT_FLAGS, OPT_GO, OPTION_MAGIC, REQUEST_MAGIC,
                       FlakyDisk, receive)

SIZE = 1 << 20
BLOCK = 4096


class Client:
    """The other end of NBD, as much of it as the tests need."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(path))
        receive(self.sock, 18)
        self.sock.sendall(struct.pack(">I", 3) + struct.pack(
            ">QIIIH", OPTION_MAGIC, OPT_GO, 6, 0, 0))
        _, _, _, length = struct.unpack(">QIII", receive(self.sock, 20))
        _, self.size, self.flags = struct.unpack(
            ">HQH", receive(self.sock, length))
        receive(self.sock, 20)

    def request(self, command, offset=0, size=0, data=b"", flags=0):
        self.sock.sendall(struct.pack(
            ">IHHQQI", REQUEST_MAGIC, flags, command, 7, offset,
            len(data) or size) + data)
        _, error, handle = struct.unpack(">IIQ", receive(self.sock, 16))
        assert handle == 7
        if error:
            raise OSError(error, "disk")
        return receive(self.sock, size) if command == CMD_READ else b""

    def write(self, offset, data, flags=0):
        self.request(CMD_WRITE, offset, data=data, flags=flags)

    def read(self, offset, size):
        return self.request(CMD_READ, offset, size)

    def flush(self):
        self.request(CMD_FLUSH)


@pytest.fixture
def disk(tmp_path):
    def made(**options):
        path = tmp_path / "disk"
        path.write_bytes(bytes(SIZE))
        return FlakyDisk(path, tmp_path / "nbd", **options)
    return made


def test_handshake_tells_size_and_what_it_can(disk):
    with disk() as server:
        client = Client(server.socket_path)
        assert client.size == SIZE
        assert client.flags == EXPORT_FLAGS


def test_flushed_survives_and_unflushed_may_not(disk):
    with disk(seed=3) as server:
        client = Client(server.socket_path)
        client.write(0, b"A" * BLOCK)
        client.flush()
        for i in range(1, 33):
            client.write(i * BLOCK, b"B" * BLOCK)
        assert client.read(0, BLOCK) == b"A" * BLOCK
        assert client.read(5 * BLOCK, BLOCK) == b"B" * BLOCK
        kept, lost = server.cut()
        assert kept + lost == 32 and kept and lost
        with pytest.raises(OSError):
            client.flush()
        after = Client(server.socket_path)
        assert after.read(0, BLOCK) == b"A" * BLOCK
        blocks = [after.read(i * BLOCK, BLOCK) for i in range(1, 33)]
        whole = blocks.count(b"B" * BLOCK)
        none = blocks.count(bytes(BLOCK))
        torn = [b for b in blocks if b not in (b"B" * BLOCK, bytes(BLOCK))]
        assert whole + none + len(torn) == 32 and len(torn) <= 1
        for block in torn:
            assert block.rstrip(b"\0") == b"B" * len(block.rstrip(b"\0"))
            assert len(block.rstrip(b"\0")) % 512 == 0


def test_same_seed_same_cut(disk):
    after = []
    for _ in range(2):
        with disk(seed=11) as server:
            client = Client(server.socket_path)
            for i in range(64):
                client.write(i * BLOCK, bytes([i + 1]) * BLOCK)
            server.cut()
            after.append(Client(server.socket_path).read(0, 64 * BLOCK))
    assert after[0] == after[1]


def test_fua_is_never_lost(disk):
    with disk() as server:
        for seed in range(20):
            server.random = random.Random(seed)
            client = Client(server.socket_path)
            client.write(0, b"old!" * 128)
            client.write(0, bytes([seed + 1]) * 512, CMD_FLAG_FUA)
            client.write(BLOCK, b"x" * BLOCK)
            server.cut()
            assert Client(server.socket_path).read(
                0, 512) == bytes([seed + 1]) * 512


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_errors_on_demand(disk, error):
    with disk() as server:
        client = Client(server.socket_path)
        client.write(0, b"1" * 512)
        server.fail = server.fail_reads = error
        for attempt in (lambda: client.write(0, b"2" * 512), client.flush,
                        lambda: client.read(0, 512)):
            with pytest.raises(OSError) as raised:
                attempt()
            assert raised.value.errno == error
        server.fail = server.fail_reads = None
        assert client.read(0, 512) == b"1" * 512


def test_delay_ends_with_the_power(disk):
    with disk() as server:
        client = Client(server.socket_path)
        server.delay_s = 60.0
        thread = threading.Timer(0.05, server.cut)
        thread.start()
        with pytest.raises(OSError):
            client.write(0, b"1" * 512)
        thread.join()
        server.delay_s = 0.0
        assert Client(server.socket_path).read(0, 512) == bytes(512)


def journal_survives(server, rng):
    """Appends to a two-slot log, as a file system would: body, flush, head,
    flush; cuts at a random point; tells whether what was acknowledged is
    there and what is there is whole."""
    client = Client(server.socket_path)
    acknowledged = 0
    server.on_write = None
    stop_at = server.writes + rng.randrange(2, 40)

    def cut_there(disk):
        if disk.writes >= stop_at:
            disk.on_write = None
            disk.cut()
    server.on_write = cut_there
    try:
        for number in range(1, 100):
            slot = number % 2
            client.write((2 + slot * 8) * BLOCK, bytes([number]) * 8 * BLOCK)
            client.flush()
            client.write(0, bytes([number]) * 512)
            client.flush()
            acknowledged = number
    except OSError:
        pass
    client = Client(server.socket_path)
    number = client.read(0, 1)[0]
    body = client.read((2 + number % 2 * 8) * BLOCK, 8 * BLOCK)
    return number >= acknowledged and (
        number == 0 or body == bytes([number]) * 8 * BLOCK)


def test_a_careful_writer_survives_and_the_canary_does_not(tmp_path):
    survived = {}
    for lies in (False, True):
        survived[lies] = 0
        for seed in range(50):
            path = tmp_path / "disk"
            path.write_bytes(bytes(SIZE))
            with FlakyDisk(path, tmp_path / "nbd", seed, lies) as server:
                survived[lies] += journal_survives(
                    server, random.Random(seed))
    assert survived[False] == 50
    assert survived[True] < 50


def test_another_client_understands_it(disk):
    with disk() as server:
        done = subprocess.run(
            ["qemu-io", "-f", "raw", "-c", "write -P 0x5a 8k 64k",
             "-c", "write -f -P 0x5b 128k 4k", "-c", "write -z 8k 4k",
             "-c", "flush", "-c", "read -P 0x5a 12k 60k",
             "-c", "read -P 0 8k 4k", "-c", "read -P 0x5b 128k 4k",
             "nbd+unix:///?socket=" + server.socket_path],
            capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "verification failed" not in done.stdout
        server.cut()
        with open(server.path, "rb") as file:
            file.seek(12 << 10)
            assert file.read(60 << 10) == b"\x5a" * (60 << 10)
