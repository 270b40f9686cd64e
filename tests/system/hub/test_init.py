"""zhub init, once or again, and what hub.json may say."""

import contextlib
import json
import subprocess

import pytest

from hub import Refused, ZHUB, ENVIRONMENT, Hub, openssl, token_parts, zhub
from test_apply import put


def small(where, size):
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % size, "none",
                    where], check=True)


def init(folder, *arguments, **more):
    return zhub("init", "--dir", folder, "--listen", "127.0.0.1:8443",
                "--address", "localhost", *arguments, **more)


def test_init_on_a_full_disk_can_be_repeated(tmp_path):
    """With each page more of room it comes further."""
    disk = tmp_path / "disk"
    left = set()
    for pages in range(1, 60, 3):
        small(disk, pages << 12)
        try:
            done = init(disk / "hub", check=False)
            if done.returncode == 0:
                break
            assert "No space left" in done.stderr or "full" in done.stderr
            assert str(disk / "hub") in done.stderr
            left.add((disk / "hub/keys").exists())
            subprocess.run(["mount", "-o", "remount,size=8m", disk],
                           check=True)
            init(disk / "hub")
            token = zhub("token", "--dir", disk / "hub").stdout
            assert token_parts(token.strip())["hub"] == ["localhost:8443"]
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
    assert left == {True, False} and done.returncode == 0


def test_lost_hub_json_is_no_new_organism(hub, tmp_path):
    hub.stop()
    root = (hub.directory / "keys/root.key").read_bytes()
    (hub.directory / "hub.json").unlink()
    zhub("init", "--dir", hub.directory, "--listen",
         "127.0.0.1:%d" % hub.port, "--address", "localhost")
    assert (hub.directory / "keys/root.key").read_bytes() == root
    hub.start()
    assert hub.operator.get("/v1/nodes")["nodes"] == []


@pytest.mark.parametrize("files", [["server.pem"], ["server.key"],
                                   ["server.pem", "server.key"],
                                   ["sign.pem", "sign.key"]])
def test_removed_certificates_are_made_anew(hub, tmp_path, files):
    """As zhub.8 says of a change of addresses."""
    hub.stop()
    config = json.loads((hub.directory / "hub.json").read_text())
    config["addresses"].append("hub.example:%d" % hub.port)
    (hub.directory / "hub.json").write_text(json.dumps(config))
    for file in files:
        (hub.directory / "keys" / file).unlink()
    zhub("token", "--dir", hub.directory)
    zhub("operator", "--dir", hub.directory, "bob")
    zhub("backup", "--dir", hub.directory, tmp_path / "backup")
    zhub("restore", "--dir", hub.directory, tmp_path / "backup")
    hub.start()
    names = openssl("x509", "-in", hub.directory / "keys/server.pem",
                    "-noout", "-ext", "subjectAltName")
    assert (b"hub.example" in names) == (files[0] != "sign.pem")
    assert hub.credential("bob").get("/v1/nodes")["nodes"] == []
    hub.anyone().get("/v1/time?nonce=a")


WRONG = {
    "port 70000": ({"listen": "127.0.0.1:70000"}, "listen: "),
    "port 0": ({"listen": "127.0.0.1:0"}, "listen: "),
    "name to listen on": ({"listen": "localhost:443"}, "listen: "),
    "no address": ({"addresses": []}, "addresses: want one"),
    "option as address": ({"addresses": ["-1"]}, "addresses[0]: "),
    "two defaults": ({"upstreams": [
        {"host": "a.example", "default": True},
        {"host": "b.example", "default": True}]}, "upstreams[1]: another"),
}


@pytest.mark.parametrize("name", WRONG)
def test_hub_json_is_blamed_where_it_is_wrong(tmp_path, name):
    init(tmp_path / "hub")
    file = tmp_path / "hub/hub.json"
    change, said = WRONG[name]
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    done = subprocess.run([ZHUB, "serve", "--dir", tmp_path / "hub"],
                          env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1 and "hub.json:1: " + said in done.stderr


def test_empty_name_of_a_folder(tmp_path):
    for command in (["init", "--address", "x"], ["serve"], ["token"],
                    ["status"], ["backup", tmp_path / "x"]):
        done = zhub(command[0], "--dir", "", *command[1:], check=False)
        assert done.returncode and "--dir: want a folder" in done.stderr


def test_upstreams_of_init(tmp_path):
    init(tmp_path / "a", "--upstream", "r.example:5000,default")
    assert json.loads((tmp_path / "a/hub.json").read_text())["upstreams"] == [
        {"host": "r.example:5000", "default": True}, {"host": "*"}]
    zhub("token", "--dir", tmp_path / "a")
    init(tmp_path / "b", "--upstream", "*", "--upstream", "r.example")
    assert json.loads((tmp_path / "b/hub.json").read_text())["upstreams"] == [
        {"host": "*"}, {"host": "r.example"}]
    init(tmp_path / "c")
    assert "upstreams" not in json.loads(
        (tmp_path / "c/hub.json").read_text())
    done = init(tmp_path / "d", "--upstream", "a.example,default",
                "--upstream", "b.example,default", check=False)
    assert done.returncode == 2 and "b.example" in done.stderr


def test_short_names_are_told_of_upstreams(hub):
    with pytest.raises(Refused, match=r'"upstreams": \[\{"host": "HOST", '
                       r'"default": true\}'):
        put(hub, "shop", ["*"], {"name": "db", "image": "mariadb:10.11"})
