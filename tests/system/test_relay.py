"""The bad link of the tests itself."""

import socket
import threading
import time

import pytest

from relay import Relay


@pytest.fixture
def echo():
    """A server that sends back what it gets; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                    if not data:
                        return
                    connection.sendall(data)
                except OSError:
                    return

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,),
                             daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connect(relay):
    return socket.create_connection(("127.0.0.1", relay.port), timeout=10)


def round_trip(sock, data):
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    got = b""
    while len(got) < len(data):
        part = sock.recv(65536)
        if not part:
            break
        got += part
    sender.join()
    return got


def test_passes_all_in_order_with_loss(echo):
    data = bytes(range(256)) * 2048
    with Relay(echo, loss=0.2, retransmit_s=0.01) as relay:
        with connect(relay) as sock:
            assert round_trip(sock, data) == data


def test_delays_both_ways(echo):
    with Relay(echo, delay_s=0.1) as relay, connect(relay) as sock:
        start = time.monotonic()
        assert round_trip(sock, b"x") == b"x"
        assert 0.2 <= time.monotonic() - start < 5


def test_limits_the_rate(echo):
    with Relay(echo, bytes_per_s=400000) as relay, connect(relay) as sock:
        start = time.monotonic()
        assert len(round_trip(sock, bytes(100000))) == 100000
        assert time.monotonic() - start >= 0.2


def test_end_of_data_passes(echo):
    with Relay(echo) as relay, connect(relay) as sock:
        sock.sendall(b"last")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(16) == b"last"
        assert sock.recv(16) == b""


def is_reset(relay, sock=None):
    """Whether `sock`, or a fresh connection, ends with a reset."""
    try:
        with sock or connect(relay) as connection:
            while connection.recv(16):
                pass
    except ConnectionResetError:
        return True
    return False


def test_cut_resets_and_mend_serves(echo):
    with Relay(echo) as relay:
        sock = connect(relay)
        assert round_trip(sock, b"a") == b"a"
        relay.cut()
        assert is_reset(relay, sock)
        assert is_reset(relay)
        relay.mend()
        with connect(relay) as again:
            assert round_trip(again, b"b") == b"b"


def test_freeze_holds_and_thaw_delivers(echo):
    with Relay(echo) as relay, connect(relay) as sock:
        assert round_trip(sock, b"a") == b"a"
        relay.freeze()
        sock.sendall(b"held")
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(16)
        sock.settimeout(10)
        relay.thaw()
        assert sock.recv(16) == b"held"


def test_forgotten_connection_is_silent_and_new_ones_are_good(echo):
    with Relay(echo) as relay, connect(relay) as old:
        assert round_trip(old, b"before") == b"before"
        relay.forget()
        old.sendall(b"lost")
        with connect(relay) as new:
            assert round_trip(new, b"new") == b"new"
        old.settimeout(0.2)
        with pytest.raises(socket.timeout):
            old.recv(1)
