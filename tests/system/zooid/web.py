"""An HTTP client that waits."""

import http.client
import time
import urllib.parse

from .log import Late

PAGE = "Hello from a zooid.\n"
PAUSE_S = 0.2


def request(url, deadline_s=30):
    """(status, body) of one GET; OSError when it breaks."""
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(
        where.hostname, where.port, timeout=deadline_s)
    try:
        connection.request("GET", where.path or "/")
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise ConnectionResetError(str(error)) from error
    finally:
        connection.close()


def fetch(url, deadline_s=60, process=None, pause_s=PAUSE_S):
    """The body of `url` as soon as it is served; Late after the deadline, or
    as soon as `process`, the machine, has ended.

    QEMU's user network accepts for a port that nobody listens on yet and
    then resets, and tells nobody when that changes; so this asks again until
    the deadline."""
    end = time.monotonic() + deadline_s
    why = "nothing"
    while time.monotonic() < end and (
            process is None or process.poll() is None):
        try:
            status, body = request(url, max(1, end - time.monotonic()))
            if status == 200:
                return body
            why = "status %d: %s" % (status, body[:200])
        except OSError as error:
            why = repr(error)
        time.sleep(pause_s)
    raise Late("%s: not served within %g s, or its machine has ended: %s" % (
        url, deadline_s, why))
