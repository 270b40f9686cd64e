"""Bytes through a connection to a service that sends them back."""

import hashlib
import socket
import threading


def echoed(sock, data, rng, slow_bytes=None):
    """Sends data in pieces of all sizes while it reads what comes back,
    slow_bytes at a time. How many came, and whether they are the same."""
    def send():
        at = 0
        while at < len(data):
            size = rng.choice((1, 100, 1460, 16384, 16385, 70000, 1 << 20))
            sock.sendall(data[at:at + size])
            at += size
        sock.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    got, total = hashlib.sha256(), 0
    while piece := sock.recv(slow_bytes or 65536):
        got.update(piece)
        total += len(piece)
    sender.join()
    return total, got.digest() == hashlib.sha256(data).digest()
