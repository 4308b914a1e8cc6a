# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which connection a waiting request gets."""
import socket
import threading

from harness.wire import reply, until


class Held:
    """An origin whose answers wait until they are let go, by path."""

    def __init__(self):
        self.events = {}
        self.lock = threading.Lock()
        self.where = {}

    def event(self, path):
        with self.lock:
            return self.events.setdefault(path, threading.Event())

    def answer(self, name):
        def f(request):
            self.where[request.target] = name
            assert self.event(request.target).wait(20)
            return reply(200, name.encode())
        return f


class Asked(threading.Thread):
    def __init__(self, p, path):
        super().__init__(daemon=True)
        self.p, self.path, self.status = p, path, None
        self.start()

    def run(self):
        self.status = self.p.get(self.path).status


def test_a_request_does_not_inherit_a_stuck_connect(make):
    """The connect that another request began hangs; the next request opens one of its own."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    p = make.proxy(port, cluster={"connect_timeout": "20s"})
    first = Asked(p, "/1")
    conn, _ = listener.accept()
    assert b"GET /1" in conn.recv(4096)
    # The queue of the listener is full from here on: what connects hangs.
    fillers = []
    for _ in range(3):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", port))
        fillers.append(s)
    second = Asked(p, "/2")
    p.wait_stat("cluster.main.upstream_cx_total", 2)
    p.wait_stat("cluster.main.upstream_rq_pending_active", 1)
    conn.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert b"GET /2" in conn.recv(4096)
    first.join(10)
    assert first.status == 200
    third = Asked(p, "/3")
    p.wait_stat("cluster.main.upstream_cx_total", 3)
    conn.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert b"GET /3" in conn.recv(4096)
    conn.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    second.join(10)
    third.join(10)
    assert (second.status, third.status) == (200, 200)
    for s in [*fillers, conn, listener]:
        s.close()


def test_an_idle_connection_makes_room_for_another_host(make):
    """At the connection limit, what goes idle at one host is closed for who waits at another."""
    held = Held()
    a, b = (make.origin(held.answer(n), name=n) for n in "ab")
    p = make.proxy(clusters={"main": [a, b]}, cluster={
        "circuit_breakers": {"thresholds": [{"max_connections": 2}]}})
    asked = []
    for i in range(4):
        asked.append(Asked(p, "/%d" % i))
        if i < 2:
            until(lambda n=i: len(held.where) == n + 1, 10)
        else:
            p.wait_stat("cluster.main.upstream_rq_pending_active", i - 1)
    # 0 and 2 are for one host, 1 and 3 for the other, which stays busy with 1.
    held.event("/2").set()
    held.event("/3").set()
    held.event("/0").set()
    for i in (0, 2, 3):
        asked[i].join(10)
        assert asked[i].status == 200, i
    assert held.where["/0"] == held.where["/2"] != held.where["/1"] == held.where["/3"]
    assert asked[1].status is None
    assert p.stat("cluster.main.upstream_cx_active") == 2
    held.event("/1").set()
    asked[1].join(10)
    assert asked[1].status == 200
