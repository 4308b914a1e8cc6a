# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many upstreams as processes, that can be killed, stopped and told to misbehave; and a load."""
import asyncio
import os
import signal
import subprocess
import sys
import time

from . import wire
from .ports import free_port

SERVER = r'''
import asyncio, sys
state = {"mode": "ok", "n": 0}
class Peer(asyncio.Protocol):
    def connection_made(self, transport):
        self.t, self.buf = transport, b""
    def data_received(self, data):
        self.buf += data
        while b"\r\n\r\n" in self.buf:
            head, self.buf = self.buf.split(b"\r\n\r\n", 1)
            self.answer(head.split(b" ", 2)[1].decode())
    def say(self, status, body):
        if not self.t.is_closing():
            self.t.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
    def answer(self, path):
        if path.startswith("/_mode/"):
            state["mode"] = path[7:]
            return self.say(200, b"")
        if path == "/_count":
            return self.say(200, b"%d" % state["n"])
        state["n"] += 1
        if state["mode"] == "500":
            self.say(500, b"bad")
        elif state["mode"] == "reset":
            self.t.abort()
        elif state["mode"] == "slow":
            asyncio.get_running_loop().call_later(5, self.say, 200, b"late")
        else:
            self.say(200, b"ok")
async def main():
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", int(sys.argv[1]), backlog=512)
    await server.serve_forever()
asyncio.run(main())
'''


class Member:
    def __init__(self):
        self.port = free_port()
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.port)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def wait_up(self):
        def up():
            try:
                return self.ask("/_count").status == 200
            except (OSError, wire.WireError):
                return False
        wire.until(up, 15)

    def ask(self, path):
        with wire.Client(self.port, timeout=5) as c:
            return c.request("GET", path)

    def mode(self, name):
        assert self.ask("/_mode/" + name).status == 200

    def count(self):
        return int(self.ask("/_count").body)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait(5)

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()


class Load:
    """So many connections that ask again and again, until told to stop."""

    def __init__(self, port, connections):
        self.port, self.connections = port, connections
        self.statuses = {}
        self.stopping = self.pausing = False
        self.under_way = 0

    async def _one(self):
        reader = writer = None
        while not self.stopping:
            if self.pausing:
                await asyncio.sleep(0.005)
                continue
            self.under_way += 1
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                status = int(head.split(b" ", 2)[1])
                size = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        size = int(line[15:])
                await reader.readexactly(size)
            except (OSError, asyncio.IncompleteReadError) as e:
                status, writer = type(e).__name__, None
            self.under_way -= 1
            self.statuses[status] = self.statuses.get(status, 0) + 1

    async def _all(self):
        await asyncio.gather(*[self._one() for _ in range(self.connections)])

    def run(self):
        asyncio.run(self._all())

    @property
    def total(self):
        return sum(self.statuses.values())

    def pause(self):
        """Until nothing is under way any more."""
        self.pausing = True
        wire.until(lambda: self.under_way == 0, 20)

    def go_on(self):
        self.pausing = False

    def wait_more(self, n, timeout=15.0):
        wanted, deadline = self.total + n, time.monotonic() + timeout
        while self.total < wanted:
            if time.monotonic() > deadline:
                raise wire.Late("%d of %d requests" % (self.total, wanted))
            time.sleep(0.02)
