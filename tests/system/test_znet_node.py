"""The network of a container in a node: what it opens leaves the machine."""

import socket
import threading

from zooid import medium

GATEWAY = "10.0.2.2"  # this machine, as QEMU's user network shows it


def answer_all(listener, body):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" %
                           (len(body), body))


def test_container_reaches_the_world(boot, scratch, httpd):
    """By TCP and by ping, with the resolver in its resolv.conf; not what only
    the node itself may reach."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_all, args=(listener, b"from outside"),
                         daemon=True).start()
        port = listener.getsockname()[1]
        script = ("cat /etc/resolv.conf; wget -qO- http://%s:%d/; echo;"
                  "ping -c1 %s | grep 'bytes from';"
                  "wget -qO- http://169.254.169.254/ || echo link closed;"
                  "nslookup nobody.invalid 2>&1 | grep Server; sleep 100000"
                  % (GATEWAY, port, GATEWAY))
        disk = medium.web(scratch / "disk", httpd,
                          command=["sh", "-c", script])
        node = boot(disks=[disk], ports=[medium.WEB_PORT], host=True)
        node.wait_ready()
        for said in (r"nameserver 10\.64\.0\.1", "from outside",
                     "64 bytes from " + GATEWAY, "link closed",
                     r"Server:\s+10\.64\.0\.1"):
            node.wait_console("log web-1", said)
        listener.shutdown(socket.SHUT_RDWR)
