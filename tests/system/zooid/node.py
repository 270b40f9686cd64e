"""One machine in QEMU that runs Zooid."""

import contextlib
import re
import shlex
import subprocess
import time

from . import agent as agents
from . import process, web
from .build import BUILD, TOP, product
from .log import Late, Log
from .qmp import Qmp

PROMPT = r"^zooid> "
READY = r"zooid: ready in (\d+) ms"
# Warnings and notices of the node too; the image's own is `quiet`. And no test
# whether ticks come, which a busy host fails: only a hypervisor's guest knows
# that it need not ask.
VERBOSE = "loglevel=6 no_timer_check"
# TCG on a busy two-core machine; a quiet one needs a tenth.
READY_S = 60

MACHINE = {
    "x86_64": ["qemu-system-x86_64", "-M", "q35", "-cpu", "max"],
    "aarch64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"],
}
# On a busy host the emulated timers' ticks come late and then all at once; a
# kernel that tests them, or calibrates by them, then panics or hangs before
# anything of ours runs. wait_ready() starts such a machine again.
NO_TICKS = r"8254 timer not connected|with PM-Timer: \d\d?ms instead"
KERNEL = {"x86_64": ["zooid.efi"], "aarch64": ["Image"]}


def board_cmdline(arch):
    """The kernel's own command line where QEMU's replaces it; "" where both
    count."""
    text = (TOP / "board" / arch / "kernel.config").read_text()
    if "CONFIG_CMDLINE_FROM_BOOTLOADER=y" not in text:
        return ""
    return re.search(r'^CONFIG_CMDLINE="(.*)"', text, re.M)[1] + " "


class Node:
    """Use as a context manager; leaving it ends the machine.

    name        of the artefacts' directory build/test/NAME
    memory_mb   of the machine
    disks       Disk objects, in order
    ports       of the node that get a port of 127.0.0.1, see port()
    network     False: no network card at all; or a netdev in QEMU's words
    host        True: the host answers at 10.0.2.2, for a hub that runs there
    dev         boot build/<arch>/dev.cpio by -initrd when it is there
    agent       hands inside, node.agent: see ../README.md
    append      words for the kernel's command line; the default lets the
                serial line show more than errors
    paused      do not run before resume()
    extra       more words for QEMU
    deadline_s  for what it is waited for, unless said otherwise
    """

    def __init__(self, name, arch="x86_64", memory_mb=256, disks=(),
                 ports=(), network=True, host=False, dev=True, agent=False,
                 append=VERBOSE, kernel=None, initrd=None, directory=None,
                 paused=False, extra=(), deadline_s=READY_S):
        self.name, self.arch = name, arch
        self.directory = directory or BUILD / "test" / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.memory_mb, self.disks = memory_mb, list(disks)
        self.ports, self.network, self.host = tuple(ports), network, host
        self.append = append
        self.extra = list(extra) + (["-S"] if paused else [])
        self.deadline_s = deadline_s
        self.kernel = kernel or product(arch, *KERNEL[arch])
        self.initrd = initrd or self._initrd(dev, agent)
        self.agent = self.log = self.qmp = self.process = None
        self._with_agent = agent
        self._meeting = None
        self._boot_mark = 0
        self._stack = contextlib.ExitStack()

    # The machine.

    def _initrd(self, dev, agent):
        parts = []
        if dev and (BUILD / self.arch / "dev.cpio").exists():
            parts.append((BUILD / self.arch / "dev.cpio").read_bytes())
        if agent:
            parts.append(agents.boot_archive(self.arch))
        if not parts:
            return None
        path = self.directory / "initrd"
        path.write_bytes(b"".join(p + bytes(-len(p) % 4) for p in parts))
        return path

    def machine(self):
        """The first words of the command line: the board's, if it names
        them."""
        line = TOP / "board" / self.arch / "qemu"
        if line.exists():
            words = shlex.split(line.read_text(), comments=True)
            if words[0].startswith("-"):
                words.insert(0, "qemu-system-" + self.arch)
            return words
        return list(MACHINE[self.arch])

    def argv(self):
        words = self.machine() + [
            "-nodefaults", "-display", "none", "-m", "%dM" % self.memory_mb,
            "-kernel", self.kernel,
            "-chardev", self._chardev("serial"), "-serial", "chardev:serial",
            "-chardev", self._chardev("qmp"), "-mon", "qmp,mode=control",
            "-device", "virtio-rng-pci"]
        if self.initrd:
            words += ["-initrd", self.initrd]
        if self.append:
            words += ["-append", board_cmdline(self.arch) + self.append]
        for i, disk in enumerate(self.disks):
            # A plain file need not survive a cut of the host's own power.
            where = ("driver=nbd,server.type=unix,server.path=%s" % disk.nbd
                     if disk.nbd else
                     "driver=file,cache.no-flush=on,filename=%s" % disk.path)
            words += ["-blockdev", "%s,node-name=disk%d" % (where, i),
                      "-device", "virtio-blk-pci,drive=disk%d" % i]
        if self.network:
            forward = "".join(",hostfwd=tcp:127.0.0.1:0-:%d" % p
                              for p in self.ports)
            # restrict: it answers DHCP and RA, but nothing leaves the guest.
            restrict = "" if self.host else ",restrict=on"
            netdev = ("user" + restrict + forward if self.network is True
                      else self.network)
            words += ["-netdev", netdev + ",id=net",
                      "-device", "virtio-net-pci,netdev=net,id=nic,romfile="]
        if self._with_agent:
            words += ["-device", "virtio-serial-pci",
                      "-chardev", self._chardev("agent"),
                      "-device",
                      "virtserialport,chardev=agent,nr=1,name=zooid.agent"]
        return [str(w) for w in words + self.extra]

    def _chardev(self, name):
        return "socket,id=%s,path=%s" % (name, self._meeting.listen(name))

    def start(self):
        self._meeting = process.Meeting()
        self._stack.callback(self._meeting.close)
        argv = self.argv()
        (self.directory / "qemu").write_text(shlex.join(argv) + "\n")
        serial = self.directory / "serial.log"
        errors = open(self.directory / "qemu.log", "wb")
        self._stack.callback(errors.close)
        self.process = process.start(argv, stdin=subprocess.DEVNULL,
                                     stdout=errors, stderr=errors)
        self._stack.callback(process.end, self.process)
        try:
            self.log = Log(self._meeting.accept("serial"), serial, self.name)
            self.qmp = Qmp(self._meeting.accept("qmp"))
        except TimeoutError:
            raise Late("%s: QEMU did not start:\n%s" % (
                self.name, (self.directory / "qemu.log").read_text()))
        self._stack.callback(self.qmp.close)
        if self._with_agent:
            self._agent_sock = self._meeting.accept("agent")
        return self

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.end()
            raise

    def __exit__(self, *_):
        self.end()

    def end(self):
        """The power switch; also what teardown does."""
        process.end(self.process)
        self._stack.close()
        if self.log:
            self.log.close()
        if self.agent:
            self.agent.close()

    def wait_end(self, deadline_s):
        """Waits until the machine has switched itself off."""
        try:
            self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Late("%s: still on after %g s; its end:\n%s" % (
                self.name, deadline_s, self.log.tail()))

    # What a test asks of it.

    def wait_for(self, pattern, deadline_s=None, mark=0):
        return self.log.wait_for(pattern, deadline_s or self.deadline_s, mark)

    def wait_ready(self, deadline_s=None, mark=0):
        """Milliseconds from the start of /init to ready, as init says."""
        self._boot_mark = mark
        match = self.wait_for(READY + "|" + NO_TICKS, deadline_s, mark)
        while not match[1]:
            self.qmp.command("system_reset")
            match = self.wait_for(READY + "|" + NO_TICKS, deadline_s,
                                  match.end())
        if self._with_agent and not self.agent:
            self.agent = agents.Agent(self._agent_sock)
        return int(match[1])

    def port(self, port):
        """The port of 127.0.0.1 that leads to `port` of the node."""
        for line in self.qmp.human("info usernet").splitlines():
            words = line.split()
            if "HOST_FORWARD" in line and words[5] == str(port):
                return int(words[3])
        raise KeyError("port %d of %s is not forwarded" % (port, self.name))

    def console(self, line, deadline_s=30):
        """What the console answers to one line."""
        # Its first prompt may come later than the node is ready.
        self.wait_for(PROMPT, deadline_s, self._boot_mark)
        while True:
            mark = self.log.mark()
            self.log.send("\r")
            self.wait_for(PROMPT, deadline_s, mark)
            mark = self.log.mark()
            self.log.send(line + "\r")
            answer = self.wait_for(r"((?:.*\n)+?)zooid> ", deadline_s, mark)[1]
            # A message of the kernel may come between its letters.
            if line + "\n" in answer:
                return answer.split(line + "\n", 1)[1]

    def url(self, port, path="/"):
        return "http://127.0.0.1:%d%s" % (self.port(port), path)

    def fetch(self, port, path="/", deadline_s=None):
        """The page at a published port, as soon as it is served."""
        return web.fetch(self.url(port, path), deadline_s or self.deadline_s,
                         self.process)

    def console_poweroff(self, deadline_s=30):
        """An orderly end, asked for at the console."""
        self.log.send("\rpoweroff\r")
        self.wait_end(deadline_s)

    def wait_console(self, line, pattern, deadline_s=None):
        """Asks the console until its answer has `pattern`: for what the node
        keeps to itself until asked. The match."""
        end = time.monotonic() + (deadline_s or self.deadline_s)
        while True:
            answer = self.console(line)
            match = re.search(pattern, answer, re.MULTILINE)
            if match:
                return match
            if time.monotonic() > end:
                raise Late("%s: no /%s/ in the answer to %r:\n%s" % (
                    self.name, pattern, line, answer))

    def resume(self):
        self.qmp.command("cont")

    def link(self, up):
        """Plugs or draws the network cable."""
        self.qmp.command("set_link", name="nic", up=up)
