"""A node asks for its address as soon as somebody can hear it."""

import pytest

from zooid.dhcp import CLIENT, DISCOVER, REQUEST, DhcpServer

BOUND = CLIENT + r"/24 by DHCP"


@pytest.fixture
def server():
    server = DhcpServer()
    yield server
    server.close()


def test_first_question_is_heard(boot, server):
    """Nothing is asked before the link has come: it would be lost, and asked
    again seconds later."""
    node = boot(network=server.netdev())
    server.begin()
    node.wait_for(BOUND)
    first, second = server.wait_question(0), server.wait_question(1)
    assert (first.kind, first.secs) == (DISCOVER, 0)
    assert (second.kind, second.xid) == (REQUEST, first.xid)


def test_link_that_comes_is_asked_at_once(boot, server):
    """Whoever had no answer before the cable was drawn begins anew when it is
    plugged in again, and does not wait as long as it would have."""
    server.deaf = True
    node = boot(network=server.netdev())
    server.begin()
    first = server.wait_question(1)  # the next would be two seconds later
    node.link(up=False)
    node.wait_console("net", r"^eth0 +down")
    server.deaf = False
    n = server.count()
    node.link(up=True)
    again = server.wait_question(n)
    assert (again.kind, again.secs) == (DISCOVER, 0)
    assert again.xid != first.xid
    node.wait_for(BOUND)


def test_cable_that_was_never_there(boot, server):
    """Who looks for why there is no address sees the interface all the same."""
    node = boot(network=server.netdev())
    node.link(up=False)  # long before the kernel is at it
    server.begin()
    node.wait_console("net", r"^eth0 +down +no address")
    node.link(up=True)
    node.wait_for(BOUND)
    node.wait_console("net", r"^eth0 +up +" + CLIENT)


def test_questions_without_an_answer(boot, server):
    """The second comes a fraction of a second after the first, then one every
    two seconds. After four there is a pause, and it all begins anew."""
    server.deaf = True
    node = boot(network=server.netdev())
    server.begin()
    asked = [server.wait_question(n) for n in range(5)]
    assert [q.kind for q in asked] == [DISCOVER] * 5
    assert asked[1].secs < 2 <= asked[2].secs < asked[3].secs
    assert len({q.xid for q in asked[:4]}) == 1
    assert asked[4].xid != asked[0].xid and asked[4].secs == 0
    server.deaf = False
    node.wait_for(BOUND)
