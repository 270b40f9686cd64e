"""Open-loop load on a service of audited.c: requests are sent when they are
due, whether earlier ones are answered or not, each on a connection of its own,
and their latency counts from when they were due."""

import asyncio
import socket
import time

from .react_host import COUNT, MESSAGE


class Load:
    """`rate` requests a second for `seconds`, of the numbers from `first` on,
    each of which the service works on for `work_us`."""

    def __init__(self, port, rate, seconds, first=0, work_us=0):
        self.port, self.rate, self.work_us = port, rate, work_us
        self.numbers = range(first, first + int(rate * seconds))
        self.latency_s = {}  # by number
        self.errors = []

    async def _one(self, loop, number, due):
        try:
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", self.port))
                await loop.sock_sendall(
                    sock, MESSAGE.pack(COUNT, self.work_us, number))
                answer = b""
                while len(answer) < MESSAGE.size:
                    data = await loop.sock_recv(sock, MESSAGE.size)
                    if not data:
                        raise ConnectionResetError("no answer")
                    answer += data
            if MESSAGE.unpack(answer) != (COUNT, self.work_us, number):
                raise ValueError("an answer to another request")
        except (OSError, ValueError) as error:
            self.errors.append((number, repr(error)))
        else:
            self.latency_s[number] = time.monotonic() - due

    async def _all(self):
        loop, tasks = asyncio.get_running_loop(), []
        start = time.monotonic()
        for i, number in enumerate(self.numbers):
            due = start + i / self.rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            tasks.append(loop.create_task(self._one(loop, number, due)))
        await asyncio.wait_for(asyncio.gather(*tasks), 60)

    def run(self):
        asyncio.run(self._all())

    def p(self, part, after_s=0):
        """Of the requests that were due `after_s` after the first."""
        late = sorted(self.latency_s[n] for n in
                      self.numbers[int(after_s * self.rate):]
                      if n in self.latency_s)
        return late[int(len(late) * part)]
