"""Child processes that cannot outlive us, and unix sockets they connect to."""

import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import tempfile

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def start(argv, **options):
    """Popen of argv in its own process group (so that Ctrl-C reaches only
    us), killed by the kernel should we die without cleaning up."""
    def in_child():
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # see tests/run
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return subprocess.Popen([str(a) for a in argv], preexec_fn=in_child,
                            **options)


def end(process, term_s=0):
    """Ends a child of start(), by its pid; politely first for term_s."""
    if process is None:
        return
    if process.poll() is None and term_s:
        process.terminate()
        try:
            process.wait(term_s)
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        process.kill()
    process.wait()


class Meeting:
    """Unix sockets that we listen on before QEMU connects, so that no byte
    is lost. They lie in a short-named directory: a path to a socket has at
    most 107 bytes."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="zooid-"))
        self._listeners = {}

    def listen(self, name):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.directory / name))
        listener.listen(1)
        self._listeners[name] = listener
        return self.directory / name

    def accept(self, name, deadline_s=20):
        listener = self._listeners.pop(name)
        listener.settimeout(deadline_s)
        connection, _ = listener.accept()
        connection.settimeout(None)
        listener.close()
        return connection

    def close(self):
        for listener in self._listeners.values():
            listener.close()
        for path in self.directory.iterdir():
            path.unlink()
        self.directory.rmdir()
