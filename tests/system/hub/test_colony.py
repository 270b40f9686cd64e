"""The whole in QEMU, with what breaks it: the hub away, killed, restored, its
disk's bits flipped; the node switched off, its clock lost, its disk full; the
link between them cut in silence. After each the colony converges by itself and
no healthy container was restarted."""

import json
import re
import time

import pytest

from colony import COMPOSE, HOST, PORT, Colony
from hub import zhub
from relay import Relay
from zooid import image, web

AGAIN_S = 10  # to converge, once the cause is gone
HEARTBEAT_S = 30
LONG_AGO = ("-rtc", "base=1970-01-01T00:00:00")


class Fixture:
    """A colony whose node n1 dials through a relay, and runs `web`."""

    def __init__(self, directory):
        self.relay = Relay(None)
        self.colony = Colony(directory, addresses=[
            "%s:%d" % (HOST, self.relay.port)])
        self.relay.target = ("127.0.0.1", self.colony.hub.port)

    def start(self):
        self.colony.hub.start()
        self.colony.push()
        self.boot(self.colony.disk("n1", hub={"heartbeat": HEARTBEAT_S}))
        self.colony.wait_nodes(["n1"], 60)
        self.colony.apply("n1")
        self.node.fetch(PORT)

    def boot(self, disk=None, **options):
        self.node = self.colony.boot("n1", disk, **options)
        self.node.wait_ready()

    def close(self):
        self.colony.close()
        self.relay.close()

    def started(self):
        """When the application's process began, in ticks of the node."""
        return int(self.node.fetch(PORT, "/cgi-bin/started"))

    def rows(self):
        return self.colony.zctl_json("ps")["rows"]

    def wait_row(self, deadline_s=AGAIN_S, **wanted):
        """Until the one row of ps has these members."""
        end = time.monotonic() + deadline_s
        while True:
            rows = self.rows()
            if len(rows) == 1 and all(
                    re.fullmatch(v, str(rows[0].get(k) or ""))
                    for k, v in wanted.items()):
                return rows[0]
            assert time.monotonic() < end, rows
            time.sleep(web.PAUSE_S)

    def apply_version(self, text):
        """An application whose answer tells which version it is."""
        self.colony.apply("n1", text=COMPOSE + (
            "    environment:\n      VERSION: %s\n" % json.dumps(text)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    made = Fixture(tmp_path_factory.mktemp("colony"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.deadline(240)
def test_yesterdays_workload_runs_without_a_hub(whole):
    """Test number one."""
    whole.node.console_poweroff()
    whole.colony.hub.stop()
    whole.boot()
    assert whole.node.fetch(PORT) == web.PAGE
    started = whole.started()
    whole.colony.hub.start()
    whole.colony.wait_nodes(["n1"], AGAIN_S)
    whole.wait_row(state="running", node_state="ready")
    assert whole.started() == started, "the hub's return restarts nothing"


@pytest.mark.deadline(240)
def test_killed_hub(whole):
    started = whole.started()
    whole.colony.hub.kill()
    assert whole.node.fetch(PORT) == web.PAGE
    whole.colony.hub.start()
    whole.colony.wait_nodes(["n1"], AGAIN_S)
    assert whole.started() == started


@pytest.mark.deadline(300)
def test_silent_link(whole):
    """Nothing passes and nothing is said, as when a cable is drawn."""
    started = whole.started()
    whole.relay.freeze()
    whole.colony.wait_nodes(["n1"], 4 * HEARTBEAT_S, state="stale")
    rows = whole.rows()
    assert rows[0]["node_state"] == "stale" and rows[0]["silent_s"] > 0
    whole.relay.thaw()
    whole.colony.wait_nodes(["n1"], HEARTBEAT_S + AGAIN_S)
    assert whole.started() == started


@pytest.mark.deadline(240)
def test_restored_hub(whole, tmp_path):
    """The hub forgets what came after its backup; the epoch tells nodes."""
    hub = whole.colony.hub
    backup = tmp_path / "backup"
    zhub("backup", "--dir", hub.directory, backup, program=hub.program)
    started = whole.started()
    before = hub.operator.get("/v1/nodes")["nodes"][0]["acknowledged"]
    hub.stop()
    zhub("restore", "--dir", hub.directory, backup, program=hub.program)
    hub.start()
    whole.colony.wait_nodes(["n1"], AGAIN_S)
    end = time.monotonic() + AGAIN_S
    while True:
        after = hub.operator.get("/v1/nodes")["nodes"][0]["acknowledged"]
        if after["epoch"] > before["epoch"]:
            break
        assert time.monotonic() < end, after
        time.sleep(web.PAUSE_S)
    assert whole.started() == started, "a higher epoch restarts nothing"
    whole.apply_version("after the restore")
    assert whole.started() != started, "and the node obeys it"


@pytest.mark.deadline(240)
def test_flipped_bit_on_the_hub(whole):
    """A damaged blob is not run; what runs goes on; a push mends it."""
    layout = image.make("flipped", {"www/index.html": (0o644, "flipped\n")},
                        ["--config.cmd", "httpd", "--config.cmd", "-f",
                         "--config.cmd", "-h", "--config.cmd", "/www"])
    whole.colony.push(layout, "flipped:1")
    layer = image.blob(layout, "layer").name
    stored, = whole.colony.hub.directory.glob("blobs/**/*%s" % layer[2:])
    image.flip_bit(stored, 5000)
    started = whole.started()
    wanted = COMPOSE.replace("hub/httpd:latest", "hub/flipped:1")
    whole.colony.apply("n1", text=wanted, options=("--wait=0s",))
    row = whole.wait_row(60, reason=r".*blob sha256:%s.*" % layer[:12])
    assert whole.started() == started, "the old version serves: %s" % row
    assert "%s: damaged on the disk" % layer in whole.colony.hub.said()
    whole.colony.push(layout, "flipped:1")
    whole.colony.apply("n1", text=wanted)
    assert whole.node.fetch(PORT) == "flipped\n"
    whole.colony.apply("n1")
    assert whole.node.fetch(PORT) == web.PAGE


@pytest.mark.deadline(240)
def test_lost_clock(whole):
    """A node that wakes in 1970 remembers when it was last on."""
    whole.node.console_poweroff()
    whole.boot(extra=LONG_AGO)
    whole.colony.wait_nodes(["n1"], 60)
    assert whole.node.fetch(PORT) == web.PAGE


@pytest.mark.deadline(240)
def test_no_clock_at_first_boot(whole):
    """A new node, to which the hub's certificate is of the future, gets the
    time from the hub, signed, and enrols."""
    node = whole.colony.boot("n2", extra=LONG_AGO)
    node.wait_ready()
    whole.colony.wait_nodes(["n2"], 60)
    node.wait_console("log zagent", r"clock: was off by \d+ s, set to %s"
                      % time.strftime("%Y-", time.gmtime()))
