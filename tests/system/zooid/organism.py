"""The keys of an organism by openssl(1), and what they sign, for tests that
need no hub."""

import base64
import hashlib
import json
import pathlib
import subprocess

TYPE = "application/vnd.zooid.desired.v1+json"
CA = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n"
SIGN = "keyUsage=critical,digitalSignature\n"


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=True,
                          capture_output=True, **options).stdout


class Organism:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.root = self.issue("root", "root", CA)
        self.ca = self.issue("hub", "hub", CA +
                             "subjectAltName=URI:zooid:///\n", "root")
        self.signer = self.issue("documents", "documents", SIGN +
                                 "subjectAltName=URI:zooid:///documents\n",
                                 "hub")
        key = openssl("x509", "-in", self.directory / "root.pem", "-noout",
                      "-pubkey")
        self.pin = hashlib.sha256(
            openssl("pkey", "-pubin", "-outform", "DER", input=key)).digest()

    def issue(self, file, name, extensions, by=None, days="10"):
        path = self.directory / file
        key = path.with_suffix(".key")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                "-out", key)
        path.with_suffix(".cnf").write_text(extensions)
        request = openssl("req", "-new", "-key", key, "-subj", "/CN=" + name)
        signed = ["-signkey", key] if not by else [
            "-CA", self.directory / (by + ".pem"), "-CAkey",
            self.directory / (by + ".key"), "-CAcreateserial"]
        text = openssl("x509", "-req", "-sha256", "-days", days, "-extfile",
                       path.with_suffix(".cnf"), *signed, input=request)
        path.with_suffix(".pem").write_bytes(text)
        return text.decode()

    def chain(self, node="n-0123456789abcd"):
        leaf = self.issue("node", node, SIGN + "extendedKeyUsage=clientAuth\n"
                          "subjectAltName=URI:zooid:///n1\n", "hub")
        return leaf + self.ca + self.root

    def token(self):
        """What a person puts into node.json."""
        text = json.dumps({"hub": ["127.0.0.1:1"], "pin": self.pin.hex(),
                           "id": "a", "secret": "b"})
        return "zooid1." + base64.urlsafe_b64encode(
            text.encode()).rstrip(b"=").decode()

    def envelope(self, document, signer="documents"):
        payload = json.dumps(document).encode()
        signed = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(),
                                          len(payload), payload)
        signature = openssl("dgst", "-sha256", "-sign",
                            self.directory / (signer + ".key"), input=signed)
        cert = (self.directory / (signer + ".pem")).read_text()
        return json.dumps({
            "payloadType": TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{
                "keyid": "", "sig": base64.b64encode(signature).decode(),
                "cert": cert + self.ca}]}).encode()
