"""zhub killed again and again, at random moments of pushing, enrolling and
applying: what it answered is kept, what it did not is whole or not there. And
copied by zhub backup meanwhile."""

import contextlib
import hashlib
import http.client
import json
import os
import queue
import random
import shutil
import threading

from hub import Client, Node, token_parts, zhub
from registry import digest, push
from test_apply import web

KILLS = 100 if os.environ.get("ZOOID_TEST_FULL") == "1" else 12
NODES = 4000


class Worker(threading.Thread):
    """Does one thing for ever, through all kills; `moments` hears of each
    step. What was answered is in `done`."""

    def __init__(self, hub, moments, step):
        super().__init__()
        self.hub, self.moments, self.step = hub, moments, step
        self.done, self.n, self.error = [], 0, None
        self.ended = threading.Event()
        self.client = Client(hub, hub.directory / "operator.d/client.cert",
                             hub.directory / "operator.d/client.key")

    def run(self):
        while not self.ended.is_set() and not self.error:
            self.n += 1
            self.moments.put(self.n)
            try:
                self.done.append(self.step(self))
            except (OSError, http.client.HTTPException):
                pass  # the hub is away
            except Exception as error:  # shown by the test
                self.error = error
            self.moments.put(self.n)


def pushing(worker):
    data = os.urandom(200000)
    tag = "t%d" % worker.n
    return tag, push(worker.hub, "web", tag, data, worker.client), digest(data)


def applying(worker):
    worker.client.ask("PUT", "/v1/apps/shop", {
        "nodes": ["n0"], "apps": [web(pids=worker.n)]})
    return worker.n


def enrolling(token, directory, kill):
    """A node whose reply was lost asks again, with the same key."""
    waiting = []

    def step(worker):
        if not waiting:
            waiting.append(Node(worker.hub, directory, "k%d-%d" % (kill, worker.n),
                                enrol=False))
        waiting[0].enrol(token)
        return waiting.pop().id
    return step


def watched(node, newest):
    """The document that the node gets now; never an older one."""
    with node.watch(follow=False) as watch:
        document = watch.document()
    now = (document["epoch"], document["revision"])
    assert now >= newest
    return document, now


def check(hub, workers, node, newest, token):
    pusher, enroller, applier = workers
    for tag, manifest, layer in pusher.done[-3:]:
        assert digest(hub.operator.ask(
            "GET", "/v2/web/manifests/" + tag)) == manifest
        assert digest(hub.operator.ask(
            "GET", "/v2/web/blobs/" + layer)) == layer
    tags = hub.operator.get("/v2/web/tags/list")["tags"] if pusher.done else []
    assert {tag for tag, _, _ in pusher.done} <= set(tags)
    # A name with a dot is of a file that was being written: for the sweep.
    for blob in (hub.directory / "blobs/sha256").glob("*/[!.]*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    ids = [n["id"] for n in hub.operator.get("/v1/nodes")["nodes"]]
    assert set(enroller.done) <= set(ids)
    left, = [t["uses"] for t in hub.operator.get("/v1/tokens")["tokens"]
             if t["id"] == token_parts(token)["id"]]
    assert left == NODES - (len(ids) - 1), "a use for each node, not more"
    app = hub.operator.get("/v1/apps/shop")["apps"][0]
    assert applier.done[-1] <= app["pids"] <= applier.n
    with contextlib.ExitStack() as stack:
        document, newest = watched(node, newest)
        if document["apps"][0]["pids"] != app["pids"]:
            watch = stack.enter_context(node.watch(*newest))
            document = watch.document()
        assert document["apps"][0]["pids"] == app["pids"]
    return document["epoch"], document["revision"]


def test_killed_at_random_moments(hub, tmp_path):
    chance = random.Random(int(os.environ.get("ZOOID_TEST_SEED", "1")))
    node = Node(hub, tmp_path, "n0")
    token = hub.token("--uses", str(NODES))
    hub.operator.ask("PUT", "/v1/apps/shop", {"nodes": ["n0"],
                                              "apps": [web(pids=1)]})
    newest = (0, 0)
    totals = [0, 0, 0]
    applied = 1
    for kill in range(KILLS):
        moments = queue.Queue()
        workers = [Worker(hub, moments, step) for step in (
            pushing, enrolling(token, tmp_path, kill), applying)]
        workers[2].n, workers[2].done = applied, [applied]
        for worker in workers:
            worker.start()
        for _ in range(chance.randrange(2, 24)):
            moments.get(timeout=60)
        hub.kill()
        for worker in workers:
            worker.ended.set()
        for worker in workers:
            worker.join()
            assert worker.error is None, repr(worker.error)
        hub.start()
        newest = check(hub, workers, node, newest, token)
        applied = hub.operator.get("/v1/apps/shop")["apps"][0]["pids"]
        totals = [t + len(w.done) for t, w in zip(totals, workers)]
    assert totals[0] and totals[1] and totals[2] > KILLS, totals


def test_backup_under_load_is_whole(hub, tmp_path):
    """What was answered before the backup began is in it, and every image in
    it can be pulled."""
    node = Node(hub, tmp_path, "n0")
    moments = queue.Queue()
    pusher, applier = workers = [Worker(hub, moments, step)
                                 for step in (pushing, applying)]
    for worker in workers:
        worker.start()
    for n in range(4):
        for _ in range(20):
            moments.get(timeout=60)
        pushed, applied = list(pusher.done), max(applier.done, default=0)
        zhub("backup", "--dir", hub.directory, tmp_path / str(n))
    for worker in workers:
        worker.ended.set()
        worker.join()
        assert worker.error is None, repr(worker.error)
    assert len(pusher.done) > len(pushed), "it went on meanwhile"
    with node.watch(follow=False) as watch:
        newest = watch.document()
    hub.stop()
    shutil.rmtree(hub.directory / "blobs")
    zhub("restore", "--dir", hub.directory, tmp_path / "3")
    hub.start()
    tags = hub.operator.get("/v2/web/tags/list")["tags"]
    assert {tag for tag, _, _ in pushed} <= set(tags)
    for tag in tags:
        manifest = json.loads(hub.operator.ask(
            "GET", "/v2/web/manifests/" + tag))
        for blob in [manifest["config"], *manifest["layers"]]:
            assert digest(hub.operator.ask(
                "GET", "/v2/web/blobs/" + blob["digest"])) == blob["digest"]
    assert hub.operator.get("/v1/apps/shop")["apps"][0]["pids"] >= applied
    with node.watch(newest["epoch"], newest["revision"], False) as watch:
        assert watch.document()["epoch"] > newest["epoch"]
