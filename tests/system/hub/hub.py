"""A hub, its operators and nodes, as their other ends see them: HTTP/1.1 of
the standard library over TLS, openssl(1) for keys."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time

from zooid import BUILD, process

ZHUB = BUILD / "host/bin/zhub"
DESIRED, SYNCED, ASK, BYE = 1, 2, 3, 4
START_S = 30
# A confined process cannot be looked into for leaks.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:exitcode=99",
               "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def zhub(*arguments, check=True, program=ZHUB):
    done = subprocess.run([program, *map(str, arguments)], text=True,
                          capture_output=True, env=ENVIRONMENT, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


class Refused(Exception):
    """A reply that is not 2xx."""

    def __init__(self, status, error):
        super().__init__("%d: %s" % (status, error))
        self.status, self.error = status, error


class Client:
    """Someone with a certificate, or without."""

    def __init__(self, hub, certificate=None, key=None):
        self.hub = hub
        self.context = ssl.create_default_context(cafile=hub.root)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        if certificate:
            self.context.load_cert_chain(certificate, key)

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(
            "localhost", self.hub.port, context=self.context, timeout=timeout)

    def open(self, method, path, body=None, headers=None, timeout=30):
        """The reply, not yet read; whoever asks closes it."""
        connection = self.connect(timeout)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        reply.connection = connection
        if reply.status >= 300:
            with contextlib.closing(connection):
                text = reply.read().decode()
            try:
                text = json.loads(text)["error"]
            except (ValueError, KeyError):
                pass
            raise Refused(reply.status, text)
        return reply

    def ask(self, method, path, body=None, headers=None):
        """The JSON of the reply, or its bytes."""
        reply = self.open(method, path, body, headers)
        with contextlib.closing(reply.connection):
            data = reply.read()
        if reply.headers.get("content-type", "").startswith(
                "application/json"):
            return json.loads(data)
        return data

    def get(self, path):
        return self.ask("GET", path)


class Hub:
    def __init__(self, directory, program=ZHUB,
                 addresses=("localhost", "127.0.0.1")):
        self.directory = pathlib.Path(directory)
        self.program = program
        self.port = free_port()
        self.log = self.directory.with_suffix(".log")
        self.process = None
        zhub("init", "--dir", self.directory, "--listen",
             "127.0.0.1:%d" % self.port,
             *("--address=%s" % a for a in addresses), program=program)
        self.root = self.directory / "keys/root.pem"
        self.operator = self.credential("operator")

    def credential(self, name):
        folder = self.directory / (name + ".d")
        return Client(self, folder / "client.cert", folder / "client.key")

    def start(self):
        seen = len(self.said())
        with open(self.log, "ab") as log:
            self.process = process.start(
                [self.program, "serve", "--dir", self.directory],
                env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        end = time.monotonic() + START_S
        while "ready on" not in self.said()[seen:]:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            select.select([], [], [], 0.02)

    def stop(self):
        """Ends it in order; a leak or any other finding is a failure."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(30)
            self.process = None
            assert code == 0, self.said()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        if self.process:
            self.kill()

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() \
            else ""

    def token(self, *options):
        return zhub("token", "--dir", self.directory, *options,
                    program=self.program).stdout.strip()

    def anyone(self):
        return Client(self)

    def metric(self, name):
        """The value of zooid_hub_NAME, labels included."""
        for line in self.operator.get("/metrics").decode().splitlines():
            if line.startswith("zooid_hub_%s " % name):
                return float(line.rsplit(" ", 1)[1])
        raise KeyError(name)

    def rss_kb(self):
        status = pathlib.Path("/proc/%d/status" % self.process.pid)
        return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1])


def token_parts(text):
    import base64
    assert text.startswith("zooid1.")
    data = text[len("zooid1."):]
    return json.loads(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4)))


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=True,
                          capture_output=True, **options).stdout


class Node:
    """A node that enrols and follows its document."""

    def __init__(self, hub, directory, name, token=None, enrol=True):
        self.hub, self.name = hub, name
        self.directory = pathlib.Path(directory) / name
        self.directory.mkdir(parents=True)
        self.key = self.directory / "key.pem"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
                self.key)
        self.csr = openssl("req", "-new", "-key", self.key, "-subj",
                           "/CN=" + name).decode()
        if enrol:
            self.enrol(token or hub.token())

    def enrol(self, text, **changes):
        parts = token_parts(text)
        body = {"token": parts["id"], "secret": parts["secret"],
                "csr": self.csr, "name": self.name, "board": "x86_64",
                "arch": "amd64", **changes}
        self.welcome = self.hub.anyone().ask("POST", "/v1/enrol", body)
        self.keep(self.welcome["chain"])
        self.id = self.welcome["node"]
        return self.welcome

    def keep(self, chain):
        (self.directory / "chain.pem").write_text(chain)
        self.client = Client(self.hub, self.directory / "chain.pem", self.key)

    def watch(self, epoch=0, revision=0, follow=True):
        return Watch(self, epoch, revision, follow)

    def observe(self, *apps, **facts):
        self.client.ask("PUT", "/v1/nodes/%s/observed" % self.id,
                        {"node": facts, "apps": list(apps)})


class Watch:
    """The frames of a node's watch stream."""

    def __init__(self, node, epoch, revision, follow):
        self.node = node
        self.reply = node.client.open(
            "GET", "/v1/nodes/%s/desired?epoch=%d&revision=%d&watch=%d" % (
                node.id, epoch, revision, follow))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.reply.connection.close()
        self.reply.close()

    def frame(self, timeout=30):
        """(type, bytes) of the next frame, or None at the end."""
        if self.reply.connection.sock:
            self.reply.connection.sock.settimeout(timeout)
        head = self.reply.read(5)
        if not head:
            return None
        size, kind = struct.unpack(">IB", head)
        data = self.reply.read(size) if size else b""
        assert len(data) == size
        return kind, data

    def document(self, timeout=30):
        """The payload of the next desired document, checked."""
        while True:
            frame = self.frame(timeout)
            assert frame, "the stream ended"
            if frame[0] == DESIRED:
                return opened(self.node.hub, frame[1])


def opened(hub, envelope, kind="desired"):
    """The payload of an envelope, verified by openssl(1) up to the root."""
    import base64
    envelope = json.loads(envelope)
    assert envelope["payloadType"] == (
        "application/vnd.zooid.%s.v1+json" % kind)
    payload = base64.b64decode(envelope["payload"])
    name = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)
    signature, = envelope["signatures"]
    with tempfile.TemporaryDirectory() as directory:
        where = pathlib.Path(directory)
        (where / "chain").write_text(signature["cert"])
        (where / "sig").write_bytes(base64.b64decode(signature["sig"]))
        (where / "signed").write_bytes(signed)
        openssl("verify", "-CAfile", hub.root, "-untrusted", where / "chain",
                where / "chain")
        key = openssl("x509", "-in", where / "chain", "-noout", "-pubkey")
        (where / "key").write_bytes(key)
        openssl("dgst", "-sha256", "-verify", where / "key", "-signature",
                where / "sig", where / "signed")
    return json.loads(payload)


def issued(hub, where, csr, node, *options, use="clientAuth",
           names="URI:zooid:///n1"):
    """A node's chain as the hub's own, with other dates, by openssl."""
    (where / "csr").write_text(csr)
    (where / "ext").write_text(
        "basicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n"
        "subjectAltName=%s\n" % (use, names))
    database = where / "ca"
    database.mkdir()
    (database / "index").write_text("")
    (database / "serial").write_text("77")
    (database / "config").write_text(
        "[ca]\ndefault_ca=a\n[a]\ndatabase=%s/index\nserial=%s/serial\n"
        "new_certs_dir=%s\ndefault_md=sha256\npolicy=p\n"
        "[p]\ncommonName=supplied\n" % (database, database, database))
    openssl("ca", "-batch", "-config", database / "config", "-cert",
            hub.directory / "keys/ca.pem", "-keyfile",
            hub.directory / "keys/ca.key", "-in", where / "csr", "-out",
            where / "made", "-extfile", where / "ext", "-subj", "/CN=" + node,
            "-notext", *options)
    return ((where / "made").read_text() +
            (hub.directory / "keys/ca.pem").read_text())
