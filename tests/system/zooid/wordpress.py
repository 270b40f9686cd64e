"""A person with a browser who sets up a WordPress and writes a post."""

import http.client
import http.cookiejar
import json
import re
import time
import urllib.parse
import urllib.request

from .log import Late
from .web import PAUSE_S

USER, PASSWORD = "keeper", "medusa-1"
TITLE, CONTENT = "Zooids", "one of many"
THEME = "twentytwentythree"
BREAKS = OSError, http.client.HTTPException
NONCE = re.compile(r'"root":"[^"]*","nonce":"(\w+)"|createNonceMiddleware'
                   r'\( "(\w+)"')


class Site:
    """The one at `url`, of which a page takes less than timeout_s."""

    def __init__(self, url, timeout_s=20):
        self.url, self.timeout_s = url, timeout_s
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def fetch(self, path, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with self.opener.open(self.url + path, data, self.timeout_s) as reply:
            return reply.read().decode()

    def when_served(self, path, deadline_s, process=None, holds=bool):
        """The page of which that holds, asked for until the deadline, or until
        `process`, the machine, has ended."""
        end, why = time.monotonic() + deadline_s, None
        while time.monotonic() < end and (
                process is None or process.poll() is None):
            try:
                why = self.fetch(path)
                if holds(why):
                    return why
            except BREAKS as error:
                why = error
            time.sleep(PAUSE_S)
        raise Late("%s%s: %s" % (self.url, path, why))

    def install(self, deadline_s, process=None):
        page = self.when_served(
            "/wp-admin/install.php", deadline_s, process,
            lambda page: "language" in page or "Site Title" in page)
        assert "Success" in self.fetch(
            "/wp-admin/install.php?step=2", weblog_title="Colony",
            user_name=USER, admin_password=PASSWORD, pw_weak="1",
            admin_password2=PASSWORD,
            admin_email="keeper@localhost.invalid", Submit="Install"), page
        self.fetch("/wp-login.php", log=USER, pwd=PASSWORD, testcookie="1")

    def write(self):
        """The number of a new post, which the site has acknowledged."""
        nonce = NONCE.search(self.fetch("/wp-admin/post-new.php"))
        post = urllib.request.Request(
            self.url + "/index.php?rest_route=/wp/v2/posts",
            json.dumps({"title": TITLE, "content": CONTENT,
                        "status": "publish"}).encode(),
            {"Content-Type": "application/json",
             "X-WP-Nonce": nonce[1] or nonce[2]})
        with self.opener.open(post, timeout=self.timeout_s) as reply:
            return json.load(reply)["id"]

    def check(self, number, deadline_s, process=None):
        """The post is there, for programs and, by the theme, for visitors."""
        read = json.loads(self.when_served(
            "/index.php?rest_route=/wp/v2/posts/%d" % number, deadline_s,
            process))
        assert read["title"]["rendered"] == TITLE
        assert CONTENT in read["content"]["rendered"]
        front = self.fetch("/")
        assert TITLE in front and THEME in front
