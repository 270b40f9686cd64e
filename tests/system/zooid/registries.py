"""Registries on loopback: Debian's docker-registry, and one that misbehaves
when told to. Certificates by openssl(1)."""

import hashlib
import http.server
import json
import random
import re
import select
import socket
import socketserver
import ssl
import subprocess
import threading
import time

from . import process

OCI = "application/vnd.oci.image."
START_S = 30


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Authority:
    """A CA of one's own, and the certificate of 127.0.0.1 and localhost."""

    def __init__(self, directory):
        self.ca, self.key = directory / "ca.pem", directory / "server.key"
        self.chain = directory / "server.pem"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-days", "30"]
        self.openssl("req", "-x509", *curve, "-keyout", directory / "ca.key",
                     "-out", self.ca, "-subj", "/CN=test root")
        self.openssl("req", *curve, "-keyout", self.key, "-out",
                     directory / "server.csr", "-subj", "/CN=server")
        extension = directory / "extension"
        extension.write_text(
            "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self.openssl("x509", "-req", "-in", directory / "server.csr", "-CA",
                     self.ca, "-CAkey", directory / "ca.key",
                     "-CAcreateserial", "-days", "30", "-extfile", extension,
                     "-out", self.chain)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True,
                       capture_output=True)

    def wrap(self, sock):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context.wrap_socket(sock, server_side=True)


class DockerRegistry:
    def __init__(self, directory, authority=None):
        self.host = "127.0.0.1:%d" % free_port()
        self.plain = not authority
        directory.mkdir()
        tls = "  tls:\n    certificate: %s\n    key: %s\n" % (
            authority.chain, authority.key) if authority else ""
        (directory / "config.yml").write_text(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\n"
            "http:\n  addr: %s\n%s" % (directory / "data", self.host, tls))
        self.log = directory / "log"
        with open(self.log, "wb") as log:
            self.process = process.start(
                ["docker-registry", "serve", directory / "config.yml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while "listening on" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            select.select([], [], [], 0.02)

    def push(self, layout, name):
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false",
                        "oci:%s" % layout,
                        "docker://%s/%s" % (self.host, name)], check=True,
                       capture_output=True, timeout=60)

    def close(self):
        process.end(self.process)


class Registry(http.server.ThreadingHTTPServer):
    """Serves `documents` {path: (media type, bytes)} and `blobs` {digest:
    bytes}, with ranges. What `rules` {digest or path: function(handler, body,
    first byte)} names misbehaves. `asked` has (path, headers) of each request,
    `sent` the bytes of each blob that went out."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, authority=None, token=None):
        super().__init__(("127.0.0.1", 0), Handler)
        if authority:
            self.socket = authority.wrap(self.socket)
        self.host = "127.0.0.1:%d" % self.server_port
        self.url = "http%s://%s" % ("s" if authority else "", self.host)
        self.documents, self.blobs, self.rules = {}, {}, {}
        self.token = token
        self.asked, self.sent = [], {}
        self.thread = threading.Thread(target=self.serve_forever, daemon=True,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    def handle_error(self, request, client_address):
        """Clients that leave are what these tests are about."""

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()

    def document(self, repository, value, kind, tag=None):
        """The descriptor of a document; also by a tag."""
        data = value if isinstance(value, bytes) else \
            json.dumps(value).encode()
        for name in (digest(data), tag):
            if name:
                self.documents["/v2/%s/manifests/%s" % (repository, name)] = (
                    OCI + kind, data)
        return {"mediaType": OCI + kind, "digest": digest(data),
                "size": len(data)}

    def blob(self, data, kind):
        self.blobs[digest(data)] = data
        return {"mediaType": OCI + kind, "digest": digest(data),
                "size": len(data)}

    def image(self, *layers, repository="web", tag="latest",
              architecture="amd64"):
        """The descriptor of the manifest of a new image; its layers need be
        no archives."""
        config = self.blob(json.dumps({
            "architecture": architecture, "os": "linux", "rootfs": {
                "type": "layers", "diff_ids": [digest(d) for d in layers]},
        }).encode(), "config.v1+json")
        return self.document(repository, {
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": config,
            "layers": [self.blob(d, "layer.v1.tar") for d in layers]},
            "manifest.v1+json", tag)

    def paths(self, part):
        return [path for path, _ in self.asked if part in path]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, dict(self.headers)))
        path = self.path.split("?")[0]
        name = path.rsplit("/", 1)[1]
        if path in server.rules:
            server.rules[path](self, b"", 0)
        elif path.startswith("/v2/") and server.token and \
                self.headers.get("Authorization") != \
                "Bearer " + server.token:
            self.challenge('Bearer realm="%s/token",service="here"' %
                           server.url)
        elif path in server.documents:
            kind, data = server.documents[path]
            self.reply(200, data, {"Content-Type": kind})
        elif name in server.blobs and "/blobs/" in path:
            self.blob(name, server.blobs[name])
        else:
            self.reply(404, b'{"errors":[]}')

    def challenge(self, text):
        self.reply(401, b"", {"WWW-Authenticate": text})

    def reply(self, status, body=b"", headers=()):
        self.head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, status, length, headers=()):
        self.send_response(status)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def blob(self, name, data):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        rule = self.server.rules.get(name)
        if rule:
            rule(self, data, first)
        else:
            self.part(data, first)

    def part(self, data, first, stop=None):
        """All from a byte on; with `stop` the connection is cut there."""
        size = len(data)
        self.head(206 if first else 200, size - first, {
            "Content-Range": "bytes %d-%d/%d" % (first, size - 1, size)}
            if first else {})
        self.send(data[first:stop])
        if stop is not None:
            self.cut()

    def send(self, data):
        name = self.path.rsplit("/", 1)[1]
        for i in range(0, len(data), 16384):
            piece = data[i:i + 16384]
            self.wfile.write(piece)
            self.server.sent[name] = \
                self.server.sent.get(name, 0) + len(piece)

    def cut(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy that connects to `to`, whatever is asked for, for who
    says `authorization`. `asked` has the targets."""

    daemon_threads = True

    def __init__(self, to, authorization=None):
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.to, self.authorization, self.asked = to, authorization, []
        self.host = "127.0.0.1:%d" % self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, daemon=True,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Tunnel(socketserver.StreamRequestHandler):
    rbufsize = 0

    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.rfile.read(1) or b"\r\n\r\n"
        method, target = head.decode().split()[:2]
        wanted = self.server.authorization
        self.server.asked.append(target)
        if method != "CONNECT" or (
                wanted and "Proxy-Authorization: " + wanted
                not in head.decode()):
            self.wfile.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(self.server.to) as far:
            self.wfile.write(b"HTTP/1.1 200 Yes\r\n\r\n")
            ends = {self.connection: far, far: self.connection}
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ends[ready].sendall(data)


def cut_after(step):
    """Each connection ends after so many bytes."""
    return lambda handler, data, first: handler.part(
        data, first, min(first + step, len(data)) if
        first + step < len(data) else None)


def flipped(times=None):
    """One bit is wrong, in the first so many replies."""
    count = [0]

    def rule(handler, data, first):
        count[0] += 1
        if times is None or count[0] <= times:
            data = data[:-1] + bytes([data[-1] ^ 1])
        handler.part(data, first)
    return rule


def seeded(size, seed=1):
    return random.Random(seed).randbytes(size)
