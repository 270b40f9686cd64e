"""linux.netDevices: devices of the host that move into the container."""

import json
import os
import socket
import subprocess

import pytest

from test_zrun import bundle, pytestmark  # noqa: F401

MAC = "02:00:00:00:5a:01"


def ip(*args):
    return subprocess.run(["ip", *args], check=True, text=True,
                          capture_output=True).stdout


@pytest.fixture
def link():
    """One end of a pair, with addresses; the other stays."""
    name, peer = "zt%d" % os.getpid(), "zp%d" % os.getpid()
    ip("link", "add", name, "address", MAC, "mtu", "1400", "type", "veth",
       "peer", "name", peer)
    ip("address", "add", "192.0.2.7/28", "broadcast", "+", "dev", name)
    ip("address", "add", "2001:db8::7/64", "dev", name, "nodad")
    ip("link", "set", peer, "up")
    ip("link", "set", name, "up")
    yield name
    subprocess.run(["ip", "link", "delete", peer], capture_output=True)


def started(bundle):
    name = bundle.create("sleep", "1000")
    assert bundle.zrun("start", name).returncode == 0
    return name


def links(bundle, name):
    """{name: what `ip` tells} of a container's devices."""
    pid = bundle.state(name)["pid"]
    text = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", "ip", "-j", "address"], check=True,
        capture_output=True).stdout
    return {entry["ifname"]: entry for entry in json.loads(text)}


def addresses(entry):
    return {(a["local"], a["prefixlen"]) for a in entry["addr_info"]
            if a["scope"] == "global"}


@pytest.mark.parametrize("user", [False, True], ids=["", "user namespace"])
@pytest.mark.parametrize("inside", [None, "eth0"])
def test_device_moves_with_what_it_has(bundle, link, inside, user):
    if user:
        bundle.give_to(100000)
    bundle.config["linux"]["netDevices"] = {
        link: {"name": inside} if inside else {}}
    entry = links(bundle, started(bundle))[inside or link]
    assert addresses(entry) == {("192.0.2.7", 28), ("2001:db8::7", 64)}
    assert entry["address"] == MAC and entry["mtu"] == 1400
    assert "UP" in entry["flags"]
    assert [a["broadcast"] for a in entry["addr_info"]
            if a["family"] == "inet"] == ["192.0.2.15"]
    assert link not in [name for _, name in socket.if_nameindex()]


def test_several_devices(bundle, link):
    peer = link.replace("zt", "zp")
    bundle.config["linux"]["netDevices"] = {link: {"name": "a"},
                                            peer: {"name": "b"}}
    assert {"a", "b", "lo"} <= set(links(bundle, started(bundle)))


def test_name_by_a_pattern(bundle, link):
    bundle.config["linux"]["netDevices"] = {link: {"name": "net%d"}}
    entry = links(bundle, started(bundle))["net0"]
    assert ("192.0.2.7", 28) in addresses(entry)


def refused(bundle, line):
    done = bundle.run("true")
    assert done.returncode == 1
    assert line in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert bundle.zrun("list", "-q").stdout == ""


def test_name_that_is_taken_inside(bundle, link):
    bundle.config["linux"]["netDevices"] = {link: {"name": "lo"}}
    refused(bundle, "linux.netDevices.%s: File exists" % link)
    assert link in [name for _, name in socket.if_nameindex()]


def test_device_that_is_not_there(bundle):
    bundle.config["linux"]["netDevices"] = {"nosuchdev": {}}
    refused(bundle, "linux.netDevices.nosuchdev: No such device")


def test_into_a_namespace_that_is_joined(bundle, link):
    first = started(bundle)
    path = "/proc/%d/ns/net" % bundle.state(first)["pid"]
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"]
        if n["type"] != "network"] + [{"type": "network", "path": path}]
    bundle.config["linux"]["netDevices"] = {link: {"name": "eth0"}}
    assert bundle.run("true").returncode == 0
    assert ("192.0.2.7", 28) in addresses(links(bundle, first)["eth0"])


@pytest.mark.parametrize("key", ["net.ipv4.conf.a/b.forwarding",
                                 "net/ipv4/conf/a.b/forwarding"])
def test_sysctl_of_a_device_with_a_dot(bundle, key):
    """As sysctl(8) writes them; the device is there when they are set."""
    first = started(bundle)
    path = "/proc/%d/ns/net" % bundle.state(first)["pid"]
    subprocess.run(["nsenter", "--net=" + path, "ip", "link", "add", "a.b",
                    "type", "veth", "peer", "c"], check=True)
    bundle.config["linux"]["namespaces"] = [
        n for n in bundle.config["linux"]["namespaces"]
        if n["type"] != "network"] + [{"type": "network", "path": path}]
    bundle.config["linux"]["sysctl"] = {key: "1"}
    done = bundle.run("cat", "/proc/sys/net/ipv4/conf/a.b/forwarding")
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize("key", ["net.//.kernel.panic", "net///kernel.panic",
                                 "net.ipv4.//.//.kernel.panic"])
def test_sysctl_that_leads_out_of_its_namespace(bundle, key):
    before = open("/proc/sys/kernel/panic").read()
    bundle.config["linux"]["sysctl"] = {key: before.strip()}
    done = bundle.run("true")
    assert done.returncode == 1 and "linux.sysctl" in done.stderr
