#!/usr/bin/python3
"""A TCP relay on loopback that makes a good link a bad one.

Where the kernel has no netem, this stands between two programs: each piece
of data waits `delay_s` on its way; with probability `loss` it counts as lost
once and arrives `retransmit_s` later, everything behind it waiting too, as
TCP would have it; at most `bytes_per_s` pass a direction. cut() resets every
connection and refuses new ones until mend(); freeze() keeps connections open
while nothing passes, as when a cable is drawn; forget() does that for ever to
those that are open, as a box in the middle does that lost its table.

As a program: relay.py [--delay S] [--loss P] [--rate B] LISTEN HOST:PORT;
SIGHUP cuts and mends in turn."""

import argparse
import asyncio
import random
import signal
import socket
import struct
import threading

PIECE_BYTES = 16384


class Relay:
    """Relays 127.0.0.1:port (0: a free one, see .port) to `target`."""

    def __init__(self, target, port=0, seed=1, **link):
        self.target = target
        self.random = random.Random(seed)
        self.delay_s = 0.0
        self.loss = 0.0
        self.retransmit_s = 0.2
        self.bytes_per_s = 0
        self.connections = 0
        for name, value in link.items():
            if not hasattr(self, name):
                raise TypeError("no such property of a link: " + name)
            setattr(self, name, value)
        self._port = port
        self._cut = False
        self._writers = set()
        self._forgotten = set()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        self.port = self._port

    # What a test does.

    def cut(self):
        self._call(self._set_cut(True))

    def mend(self):
        self._call(self._set_cut(False))

    def freeze(self):
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def thaw(self):
        self._loop.call_soon_threadsafe(self._flowing.set)

    def forget(self):
        self._call(self._forget())

    def close(self):
        self._call(self._set_cut(True))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # The relay.

    def _call(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _run(self, started):
        asyncio.set_event_loop(self._loop)
        self._flowing = asyncio.Event()
        self._flowing.set()
        server = self._loop.run_until_complete(asyncio.start_server(
            self._connected, "127.0.0.1", self._port))
        self._port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(
            asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _set_cut(self, cut):
        self._cut = cut
        if cut:
            for writer in list(self._writers):
                reset(writer)

    async def _forget(self):
        self._forgotten |= self._writers

    async def _connected(self, reader, writer):
        if self._cut:
            reset(writer)
            return
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(
                *self.target)
        except OSError:
            reset(writer)
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._pass(reader, far_writer),
                                 self._pass(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}
            self._forgotten -= {writer, far_writer}
            writer.close()
            far_writer.close()

    async def _pass(self, reader, writer):
        """One direction; its pieces overlap in flight but keep their order."""
        queue = asyncio.Queue(64)
        sender = asyncio.create_task(self._deliver(queue, writer))
        free_at = 0.0
        try:
            while True:
                data = await reader.read(PIECE_BYTES)
                now = self._loop.time()
                if self.bytes_per_s:
                    free_at = max(now, free_at) + len(data) / self.bytes_per_s
                due = max(now, free_at) + self.delay_s
                if data and self.random.random() < self.loss:
                    due += self.retransmit_s
                await queue.put((due, data))
                if not data:
                    break
        except OSError:
            await queue.put((0, None))
        await sender

    async def _deliver(self, queue, writer):
        while True:
            due, data = await queue.get()
            wait_s = due - self._loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)  # the link itself, not a test
            await self._flowing.wait()
            if writer in self._forgotten:
                if data:
                    continue
                return
            try:
                if data is None:
                    reset(writer)
                    return
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
            except OSError:
                return


def reset(writer):
    """Closes with RST, as a link that is gone does in the end."""
    sock = writer.get_extra_info("socket")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
    except OSError:
        pass
    writer.transport.abort()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("listen", type=int)
    parser.add_argument("target")
    args = parser.parse_args()
    host, port = args.target.rsplit(":", 1)
    signals = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with Relay((host, int(port)), args.listen, delay_s=args.delay,
               loss=args.loss, bytes_per_s=args.rate) as relay:
        print("listening on 127.0.0.1:%d" % relay.port, flush=True)
        cut = False
        while signal.sigwait(signals) == signal.SIGHUP:
            cut = not cut
            relay.cut() if cut else relay.mend()


if __name__ == "__main__":
    main()
