"""OCI runtime specification: features.md and features-linux.md: what is
promised there is taken in a config."""

import json
import re

import pytest

from oci import refused, spec


@pytest.fixture
def features(bundle):
    done = bundle.call("features")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def number(version):
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)\.(\d+)",
                                          version).groups())


@spec("features.md: specification version")
def test_versions_between(bundle, features):
    least, most = features["ociVersionMin"], features["ociVersionMax"]
    assert number(least) <= number(most)
    for version in (least, most):
        bundle.config["ociVersion"] = version
        assert bundle.run("true").returncode == 0


@spec("features.md: hooks")
def test_hooks_are_taken(bundle, features):
    bundle.config["hooks"] = {name: [{"path": "/bin/true"}]
                              for name in features["hooks"]}
    assert bundle.run("true").returncode == 0
    assert set(features["hooks"]) >= {
        "prestart", "createRuntime", "createContainer", "startContainer",
        "poststart", "poststop"}


@spec("features.md: mount options")
def test_mount_options_are_known(bundle, features):
    """A word that is not known goes to the file system, which refuses it."""
    special = {"remount", "idmap", "ridmap"}
    for word in features["mountOptions"]:
        if word in special:
            continue
        bundle.config["mounts"] = bundle.config["mounts"][:3]
        bundle.mount("/tmp", "tmpfs", "tmpfs",
                     *["bind"] * (word in ("bind", "rbind")), word)
        bundle.config["mounts"][-1]["source"] = str(bundle.path)
        done = bundle.run("true")
        assert done.returncode == 0, (word, done.stderr)


@spec("features-linux.md: namespaces")
def test_namespaces_are_taken(bundle, features):
    assert set(features["linux"]["namespaces"]) >= {
        "cgroup", "ipc", "mount", "network", "pid", "user", "uts"}
    bundle.user_namespace()
    for name in features["linux"]["namespaces"]:
        bundle.namespace(name)
    assert bundle.run("true").returncode == 0


@spec("features-linux.md: capabilities")
def test_capabilities_are_known(bundle, features):
    names = features["linux"]["capabilities"]
    assert "CAP_CHECKPOINT_RESTORE" in names
    bundle.grant(*names)
    done = bundle.run("true")
    assert done.returncode == 0
    assert "no known capability" not in done.stderr


@spec("features-linux.md: cgroup")
def test_cgroup_v2(features):
    assert features["linux"]["cgroup"]["v2"] is True


@spec("features-linux.md: seccomp")
@pytest.mark.parametrize("what", ["actions", "operators", "archs",
                                  "supportedFlags"])
def test_seccomp_words_are_taken(bundle, features, what):
    for word in features["linux"]["seccomp"].get(what, []):
        rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
        seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        if what == "actions":
            rule["action"] = word
            if word == "SCMP_ACT_NOTIFY":
                continue  # wants a listener: test_spec_seccomp.py
        elif what == "operators":
            rule["args"] = [{"index": 0, "value": 1, "valueTwo": 1,
                             "op": word}]
        elif what == "archs":
            seccomp["architectures"] = [word]
            if word not in ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
                            "SCMP_ARCH_X32"):
                continue
        else:
            if word.endswith("WAIT_KILLABLE_RECV"):
                continue  # only together with SCMP_ACT_NOTIFY
            seccomp["flags"] = [word]
        bundle.linux["seccomp"] = seccomp
        done = bundle.run("true")
        assert done.returncode == 0, (word, done.stderr)


@spec("features-linux.md: mountExtensions")
def test_idmap_is_told(features):
    assert features["linux"]["mountExtensions"]["idmap"]["enabled"] is True


@spec("features.md: specification version")
def test_no_other_version(bundle, features):
    bundle.config["ociVersion"] = "%d.0.0" % (
        number(features["ociVersionMax"])[0] + 1)
    refused(bundle)
