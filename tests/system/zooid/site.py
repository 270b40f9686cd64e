"""WordPress with MariaDB on a node that reacts: PHP's own server, as the image
has it, which keeps its opcodes as long as it lives."""

import contextlib
import json
import subprocess
import time
import urllib.parse
import urllib.request

from . import application
from .host import free_port
DATABASE, PHP = "db", "php"
SLEEP = {"freeze_after_ms": 100, "sleep_after_ms": 100}
ANSWER_S = 60


class Site:
    """Installed, and MariaDB runs; PHP follows the policy that it is given."""

    def __init__(self, host):
        self.host, self.port = host, free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.digests = {name: self.registered(name)
                        for name in ("mariadb", "wordpress")}
        self.want(None)
        host.wait_row(DATABASE, health="healthy")
        assert "Success" in self.post(
            "/wp-admin/install.php?step=2", weblog_title="Colony",
            user_name="keeper", admin_password="medusa-1", pw_weak="1",
            admin_password2="medusa-1", Submit="Install",
            admin_email="keeper@localhost.invalid")

    def registered(self, name):
        layout = application.image(name)
        index = json.loads((layout / "index.json").read_text())
        digest = index["manifests"][0]["digest"]
        with contextlib.suppress(FileExistsError):
            (self.host.registry / digest[7:]).symlink_to(layout)
        return digest

    def database(self):
        return {
            "name": self.host.name(DATABASE), "image": "hub/mariadb",
            "digest": self.digests["mariadb"], "restart": "always",
            "origin": {"application": "shop"},
            "environment": {
                "MARIADB_DATABASE": "wp", "MARIADB_USER": "wp",
                "MARIADB_PASSWORD": "secret"},
            "mounts": [{"type": "volume", "target": "/var/lib/mysql",
                        "source": "db"}],
            "health": {"test": ["mariadb-admin", "ping", "--silent"],
                       "interval_ms": 1000, "start_interval_ms": 100,
                       "start_period_ms": 60000}}

    def php(self, reactive):
        more = {"reactive": reactive} if reactive else {}
        return {
            "name": self.host.name(PHP), "image": "hub/wordpress",
            "digest": self.digests["wordpress"], "restart": "always",
            "origin": {"application": "shop"},
            # As the first process of its namespace it heeds no other.
            "stop_signal": "SIGKILL",
            "ports": [{"host": self.port, "container": 80}],
            "environment": {
                "WORDPRESS_DB_HOST": self.host.name(DATABASE),
                "WORDPRESS_DB_NAME": "wp", "WORDPRESS_DB_USER": "wp",
                "WORDPRESS_DB_PASSWORD": "secret",
                "WORDPRESS_SALT": "pepper"},
            "depends_on": [{"app": self.host.name(DATABASE),
                            "condition": "healthy"}], **more}

    def want(self, reactive):
        """reactive: the policy of PHP's service; None: none."""
        self.host.apply(self.database(), self.php(reactive))

    def get(self, path="/"):
        with urllib.request.urlopen(self.url + path, None,
                                    ANSWER_S) as reply:
            return reply.read().decode()

    def post(self, path, **form):
        """Tried again while nobody listens yet."""
        data = urllib.parse.urlencode(form).encode()
        end = time.monotonic() + ANSWER_S
        while True:
            try:
                with urllib.request.urlopen(self.url + path, data,
                                            ANSWER_S) as reply:
                    return reply.read().decode()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def page_ms(self):
        """From connect() to the last byte of the front page."""
        start = time.perf_counter_ns()
        page = self.get()
        assert "twentytwentythree" in page and "Colony" in page, page
        return (time.perf_counter_ns() - start) / 1e6

    def rest(self):
        """PHP's service is stopped until a client comes."""
        self.want({"image_after_ms": 100})
        self.host.wait_row(PHP, state="image", rests=True)

    def cold_ms(self):
        """The first page when neither service runs."""
        self.rest()
        name = self.host.name(DATABASE)
        self.host.znode("stop", name)
        with subprocess.Popen([self.host.bin / "znode", "start", name],
                              env=self.host.env, stdout=subprocess.DEVNULL):
            return self.page_ms()

    def cold_alone_ms(self):
        """The first page when PHP does not run."""
        self.rest()
        return self.page_ms()

    def asleep_ms(self):
        """The first page of one that has served, and sleeps."""
        self.want(SLEEP)
        self.get()
        self.host.wait_row(PHP, state="asleep")
        return self.page_ms()
