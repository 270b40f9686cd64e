#!/usr/bin/python3
"""What an idle zagent costs: bytes at IP level and memory.

    unshare --net tests/bench/idle_agent.py

In a network namespace of its own, where nothing else is on the loopback: its
counters hold each packet once, from the IP header on. A beat costs the same
whatever its period, so a short one is counted and scaled to a day."""

import contextlib
import json
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/system"), str(TOP / "tests/system/hub")]

from agent import Agent  # noqa: E402
from hub import Hub  # noqa: E402
from zooid.build import product  # noqa: E402

PERIOD_S, BEATS, DAY_S, HEARTBEAT_S = 10, 6, 24 * 3600, 75


def loopback():
    """(bytes, packets) so far."""
    text = pathlib.Path("/proc/net/dev").read_text()
    fields = re.search(r"lo:(.*)", text)[1].split()
    return int(fields[0]), int(fields[1])


def let_pass(seconds):
    select.select([], [], [], seconds)


def pss_kb(pid):
    text = pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as directory, \
            contextlib.ExitStack() as stack:
        where = pathlib.Path(directory)
        hub = Hub(where / "hub", product("x86_64", "bin/zhub"))
        stack.callback(hub.close)
        hub.start()
        agent = Agent(where, hub.token(),
                      program=product("x86_64", "bin/zagent"),
                      ZOOID_HEARTBEAT_S=str(PERIOD_S))
        stack.callback(agent.close)
        began = loopback()
        agent.start().wait_state("connected")
        agent.znode.wait(lambda z: z.documents)
        let_pass(PERIOD_S * 1.5)  # the acknowledgement, the first report
        joined = loopback()
        start = time.monotonic()
        let_pass(PERIOD_S * BEATS)
        spent = loopback()
        beats = (time.monotonic() - start) / PERIOD_S
        beat = (spent[0] - joined[0]) / beats
        print(json.dumps({
            "beat_bytes": beat,
            "join_bytes": joined[0] - began[0],
            # With one join, which has more than the daily look at the clock.
            "day_kb": (beat * DAY_S / HEARTBEAT_S +
                       joined[0] - began[0]) / 1000,
            "pss_kb": pss_kb(agent.process.pid)}))


if __name__ == "__main__":
    main()
