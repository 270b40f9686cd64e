"""An application that people have sleeps on disk between its visitors: WordPress
with MariaDB (zooid/site.py)."""

import pytest

from zooid.react_host import react_host_in_directory
from zooid.site import PHP, SLEEP, Site

ROUNDS = 2


@pytest.fixture
def host(tmp_path):
    yield from react_host_in_directory(tmp_path / "organism")


def test_first_page_of_a_sleeper(host):
    """The same process answers it, whole, and sooner than a new one."""
    site = Site(host)
    cold = [site.cold_alone_ms() for _ in range(ROUNDS)]
    site.want(SLEEP)
    site.get()
    host.wait_row(PHP, state="asleep")
    before = host.row(PHP)
    asleep = [site.asleep_ms() for _ in range(ROUNDS)]
    row = host.row(PHP)
    assert row["container"] == before["container"]
    assert row["wakes"] >= before["wakes"] + ROUNDS
    assert "cannot" not in host.said()
    assert min(asleep) < min(cold), (asleep, cold)
