"""Compose keys that need every part, in a node as it is shipped (QEMU): a
secret that is sealed to it, two services of one network, who reaps, names that
are none on a node, and what a service has against others."""

import time

from colony import HOST, PORT, Colony

SECRET = "s3cret of a node\n"
COMPOSE = """\
name: shop
services:
  front_end:
    image: hub/httpd:latest
    command: [sleep, "1000000"]
    init: true
    stop_grace_period: 1s
    ports: ["%d:80"]
  page:
    image: hub/httpd:latest
    network_mode: service:front_end
    command:
      - sh
      - -c
      - >-
        mkdir /p && (cat /run/secrets/key; stat -c %%a /run/secrets/key;
        until wget -qO- http://data_store/ && wget -qO- http://Store.local/;
        do sleep 1; done) >/p/index.html && exec httpd -f -h /p
    secrets: [key]
    healthcheck: {test: [CMD, wget, -qO-, "http://127.0.0.1/"], interval: 1s}
  data_store:
    image: hub/httpd:latest
    command:
      - sh
      - -c
      - >-
        mkdir -p /kept/p && (cat /proc/self/oom_score_adj
        /sys/fs/cgroup/memory.low /sys/fs/cgroup/cpuset.cpus
        /proc/sys/kernel/domainname) >/kept/p/index.html &&
        httpd -h /kept/p && cat && httpd -h /gone
    networks: {default: {aliases: [store.local]}}
    volumes: [Kept_data:/kept]
    mem_limit: 16m
    memswap_limit: 32m
    mem_reservation: 1m
    cpu_shares: 512
    cpuset: "0"
    oom_score_adj: 500
    domainname: example.com
    tty: true
secrets:
  key: {file: key.txt}
volumes:
  Kept_data:
""" % PORT
STORED = "500\n1048576\n0\nexample.com\n"


def test_secret_and_shared_network_in_a_node(tmp_path):
    with Colony(tmp_path / "colony") as colony:
        (colony.directory / "key.txt").write_text(SECRET)
        colony.push()
        node = colony.boot("n1")
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.apply("n1", text=COMPOSE)
        page = SECRET + "400\n" + 2 * STORED
        assert node.fetch(PORT) == page
        # After a cut it needs nobody.
        colony.hub.stop()
        node = colony.boot("n1")
        node.wait_ready()
        assert node.fetch(PORT) == page
        assert "s3cret" not in node.log.text
        node.wait_console("ps", r"page +hub +running")


SYSCTLS = """\
name: shop
services:
  set:
    image: hub/httpd:latest
    command: &show
      - sh
      - -c
      - >-
        mkdir /p && cd /proc/sys/net && (cat ipv4/conf/all/arp_ignore
        ipv4/conf/default/send_redirects ipv6/conf/all/forwarding
        ipv4/ip_local_reserved_ports ipv4/ip_unprivileged_port_start
        core/somaxconn; ls -d */conf/* */neigh/*; cd /sys/class/net/tun0;
        cat mtu tx_queue_len statistics/tx_dropped; ls -d queues power;
        cat /proc/net/dev_snmp6/tun0 | wc -l) >/p/index.html 2>/dev/null;
        exec httpd -f -h /p
    ports: ["%d:80"]
    sysctls:
      net.ipv4.conf.all.arp_ignore: 2
      net.ipv4.conf.default.send_redirects: 0
      net.ipv6.conf.all.forwarding: 1
      net.ipv4.ip_local_reserved_ports: "8080,9000-9002"
      net.core.somaxconn: 77
  plain:
    image: hub/httpd:latest
    command: *show
    ports: ["%d:80"]
""" % (PORT, PORT + 1)
# Of no device that all have, but what is set for all of them.
SHOWN = "%s\n" * 6 + """\
ipv4/conf/all
ipv4/conf/default
ipv6/conf/all
ipv6/conf/default
65520
500
0
"""


def test_sysctls_of_a_network_namespace(tmp_path):
    """rootfs/packages/linux.patch."""
    with Colony(tmp_path / "colony") as colony:
        colony.push()
        node = colony.boot("n1", ports=[PORT, PORT + 1])
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.apply("n1", text=SYSCTLS)
        pages = [node.fetch(port) for port in (PORT, PORT + 1)]
        values = [("2", "0", "1", "8080,9000-9002", "0", "77"),
                  ("0", "1", "0", "", "0", "4096")]
        for page, value in zip(pages, values):
            shown, lines = page.rsplit("\n", 2)[0] + "\n", page.split()[-1]
            assert shown == SHOWN % value
            assert int(lines) > 30


def test_limit_that_no_start_fits(tmp_path):
    """Its reason is the limit, whatever the killed process was at. zctl lets
    none be so small."""
    with Colony(tmp_path / "colony") as colony:
        colony.push()
        node = colony.boot("n1")
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.hub.operator.ask("PUT", "/v1/apps/shop", {
            "nodes": ["n1"],
            "apps": [{"name": "page", "image": "hub/httpd:latest",
                      "memory": 1, "restart": "always"}]})
        for n in (1, 2, 3):  # also where it has a process made before
            node.wait_for("page: container page-%d: killed: memory limit of "
                          "1 bytes reached" % n)


WARM = """\
name: shop
services:
  page:
    image: hub/httpd:latest
    command:
      - sh
      - -c
      - >-
        sleep 2 && mkdir /p &&
        cat /proc/sys/kernel/random/uuid >/p/index.html &&
        exec httpd -f -h /p
    environment: {N: "%d"}
    ports: ["%d:80"]
    x-zooid:
      reactive: {freeze_after: 500ms, image_after: 1s, checkpoint: listen}
"""


def test_started_from_where_it_listened(tmp_path):
    """By each client, also after a cut, until it is of another config; what it
    had drawn by then shows which one it is."""
    with Colony(tmp_path / "colony") as colony:
        colony.push()
        node = colony.boot("n1")
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.apply("n1", text=WARM % (1, PORT))
        drawn = node.fetch(PORT)
        for cut in (False, True):
            node.wait_console("ps", r"page +hub +image")
            if cut:
                node = colony.boot("n1")
                node.wait_ready()
            assert node.fetch(PORT) == drawn
        node.wait_console("ps", r"page +hub +image")
        colony.apply("n1", text=WARM % (2, PORT))
        other = node.fetch(PORT)
        assert other != drawn
        node.wait_console("ps", r"page +hub +image")
        assert node.fetch(PORT) == other


WIDE = """\
name: shop
services:
  exporter:
    image: hub/httpd:latest
    user: "0:0"
    command:
      - sh
      - -c
      - >-
        mkdir /p && cd /p && (cat /proc/1/comm /host/proc/1/comm;
        grep -c eth0: /proc/net/dev; test -b /dev/vda && echo disk;
        mount -t tmpfs none /p && echo mounted;
        touch /host/data/x || echo read-only) >/index.html;
        cp /index.html /p; exec httpd -f -p %d -h /p
    network_mode: host
    pid: host
    privileged: true
    volumes: ["/:/host:ro,rslave"]
""" % PORT
GRANTS = ("network:host", "pid:host", "privileged", "bind:/:ro:/host")


def test_what_reaches_beyond_the_container(tmp_path):
    """Each of it is named until the operator grants it, and there then."""
    with Colony(tmp_path / "colony") as colony:
        colony.push()
        node = colony.boot("n1")
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        refused = colony.zctl("apply", "-f", colony.compose(WIDE), "--node",
                              "n1", check=False)
        assert refused.returncode == 1
        asked = [line.split("needs --grant ")[1]
                 for line in refused.stderr.splitlines() if "needs" in line]
        assert sorted(asked) == sorted(GRANTS), refused.stderr
        given = [word for grant in GRANTS for word in ("--grant", grant)]
        colony.apply("n1", text=WIDE, options=("--wait", *given))
        page = "init\ninit\n1\ndisk\nmounted\nread-only\n"
        assert node.fetch(PORT) == page
        # The document says so still when the hub is gone.
        colony.hub.stop()
        node = colony.boot("n1")
        node.wait_ready()
        assert node.fetch(PORT) == page


KEPT = """\
name: kept
services:
  store:
    image: hub/httpd:latest
    command: [sh, -c, "cd /d && echo kept >index.html && exec httpd -f -h /d"]
    volumes: [data:/d]
    ports: ["81:80", "127.0.0.1:82:80"]
volumes:
  data:
"""
MEETS = """\
name: shop
services:
  web:
    image: hub/httpd:latest
    entrypoint: [sh, -c]
    command:
      - >-
        mkdir /p; cd /p; echo hello >hello; httpd -h /p;
        get() { wget -qO- http://$$1 || echo none; };
        while sleep 0.2; do
        (cat /etc/resolv.conf /d/index.html; get node:81/; get node:82/;
        get inner/) >new;
        mv new index.html; done
    extra_hosts: ["node:host-gateway"]
    dns: [192.0.2.53, 127.0.0.1]
    networks: [front, back]
    volumes: [data:/d:ro]
    ports: ["%d:80"]
  inner:
    image: hub/httpd:latest
    command:
      - sh
      - -c
      - >-
        mkdir /p; cd /p; httpd -h /p;
        get() { wget -qO- http://$$1 || echo none; };
        while sleep 0.2; do
        (get node:81/; get web/hello; ping -c1 -W2 %s | grep -c from) >new;
        mv new index.html; done
    extra_hosts: ["node:host-gateway"]
    networks: [back]
volumes:
  data: {external: true, name: kept.data}
networks:
  front:
  back: {internal: true}
"""


def test_node_and_other_applications(tmp_path):
    """The node's address leads to what it publishes to all and not to what is
    for itself; an internal network leads nowhere; a volume of another
    application has to be there."""
    with Colony(tmp_path / "colony") as colony:
        colony.push()
        node = colony.boot("n1")
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        text = MEETS % (PORT, HOST)
        colony.apply("n1", text=text, options=("--wait=0s",))
        node.wait_for("volume kept.data: there is none on this node")
        colony.apply("n1", text=KEPT)
        end = time.monotonic() + node.deadline_s
        page = "nameserver 10.64.0.1\nnameserver 127.0.0.1\n" \
            "kept\nkept\nnone\nnone\nhello\n0\n"
        while True:
            try:
                said = node.fetch(PORT)
            except OSError as e:
                said = str(e)
            if said == page:
                break
            assert time.monotonic() < end, (
                said, colony.zctl("logs", "--since", "2s", "n1/web"))


STICK = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_ZIG1-if00-port0"
PLUGGED = """\
name: shop
services:
  radio:
    image: hub/httpd:latest
    command:
      - sh
      - -c
      - >-
        mkdir /p && cd /p && httpd -h /p; mknod /old c 188 0; while sleep 0.2;
        do n=$$(stat -c %%t:%%T /dev/stick 2>/dev/null);
        test -c /dev/stick && echo hello >/dev/stick && n="$$n said";
        (echo old >/old) 2>/dev/null && n="$$n old";
        echo $$n >new; mv new index.html; done
    devices: ["%s:/dev/stick:rw"]
    ports: ["%d:80"]
""" % (STICK, PORT)


class Port:
    """For USB devices, into which what is written goes to a file."""

    def __init__(self, node, directory):
        self.qmp, self.directory = node.qmp, directory

    def plug(self, serial):
        file = self.directory / serial
        self.qmp.command("chardev-add", id=serial, backend={
            "type": "file", "data": {"out": str(file), "append": True}})
        self.qmp.command("device_add", driver="usb-serial", id="usb" + serial,
                         chardev=serial, serial=serial, bus="usb.0")
        return file

    def unplug(self, serial):
        self.qmp.command("device_del", id="usb" + serial)
        self.qmp.wait_event("DEVICE_DELETED", 20)
        self.qmp.command("chardev-remove", id=serial)


def wait_page(node, page):
    end = time.monotonic() + node.deadline_s
    while (said := node.fetch(PORT)) != page + "\n":
        assert time.monotonic() < end, said


def test_device_that_is_plugged_in(tmp_path):
    """A container has it by its name, whatever its number is this time, and
    what comes under the old number is not its."""
    with Colony(tmp_path / "colony") as colony:
        colony.push()
        node = colony.boot("n1", extra=["-device", "qemu-xhci,id=usb"])
        node.wait_ready()
        colony.wait_nodes(["n1"], 60)
        colony.apply("n1", text=PLUGGED,
                     options=("--grant", "device:%s:rw:/dev/stick" % STICK))
        node.wait_for("device %s: No such device" % STICK)
        usb = Port(node, tmp_path)
        file = usb.plug("ZIG1")
        wait_page(node, "bc:0 said old")
        node.wait_console("devices", "^/dev/ttyUSB0\n  %s$" % STICK)
        device, = [row for row in colony.zctl_json("devices", "n1")["devices"]
                   if row["device"] == "/dev/ttyUSB0"]
        assert device["by_id"] == STICK
        usb.unplug("ZIG1")
        wait_page(node, "")
        other = usb.plug("ZIG2")
        usb.plug("ZIG1")
        wait_page(node, "bc:1 said")
        assert "hello" in file.read_text() and "old" in file.read_text()
        assert other.read_text() == ""
