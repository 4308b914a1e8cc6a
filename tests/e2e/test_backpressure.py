# SPDX-License-Identifier: AGPL-3.0-or-later
"""Large bodies pass through in constant memory, and a slow reader slows its writer down."""
import os
import threading
import time

import pytest

from harness.wire import chunk, head, reply

MIB = 1 << 20
BLOCK = os.urandom(MIB - 3)  # a period that fits no buffer size: a lost or doubled byte shows


class Check:
    """Compares a stream with endlessly repeated BLOCKs."""

    def __init__(self):
        self.n = 0
        self.view = memoryview(BLOCK + BLOCK[:65536])

    def take(self, data):
        at = 0
        while at < len(data):
            off = self.n % len(BLOCK)
            k = min(len(data) - at, len(self.view) - off)
            assert data[at:at + k] == self.view[off:off + k], "wrong byte near %d" % self.n
            at += k
            self.n += k


def blocks(total):
    view = memoryview(BLOCK)
    while total:
        k = min(total, len(BLOCK))
        yield view[:k]
        total -= k


def receive(sock, first, total, pause=None):
    """first: bytes that came along with the head."""
    check = Check()
    check.take(memoryview(first))
    buf = bytearray(MIB)
    view = memoryview(buf)
    sock.settimeout(20)
    while check.n < total:
        n = sock.recv_into(view[:min(MIB, total - check.n)])
        assert n, "cut after %d of %d" % (check.n, total)
        check.take(view[:n])
        if pause:
            pause(check.n)
    return check.n


def memory_limit_kb(p, kb=2048):
    """The promise is about the release build; a sanitizer has memory of its own."""
    return 40 * 1024 if p.sanitized() else kb


def big_origin(total, result):
    """GET / and small POSTs for warming up; GET /big and large POSTs for the measurement."""
    def handler(conn):
        while True:
            request = conn.request_head(30)
            if request.target == "/big":
                conn.send(head("HTTP/1.1 200 OK", [("Content-Length", total)]))
                for b in blocks(total):
                    conn.send(b)
            elif request.length > MIB:
                first = conn.reader.take(min(len(conn.reader.buf), request.length))
                result.append(receive(conn.sock, first, request.length))
                conn.send(reply(200, b"got it"))
            else:
                conn.reader.body(request)
                conn.send(reply(200, b"w" * MIB))
    return handler


def warm(p):
    """Pools and scratch memory exist before the measurement begins."""
    for _ in range(3):
        with p.connect() as c:
            c.get(timeout=20)
            c.request("POST", "/", body=b"w" * MIB, timeout=20)
    p.reset_peak()
    return p.peak_kb()


@pytest.mark.bounded(60)
def test_one_gigabyte_down(make):
    total = 1 << 30
    p = make.proxy(make.origin(handler=big_origin(total, [])), route={"timeout": "0s"})
    before = warm(p)
    with p.connect(timeout=20) as c:
        c.ask("GET", "/big")
        assert c.reader.response_head().length == total
        receive(c.sock, c.reader.take(len(c.reader.buf)), total)
    grown = p.peak_kb() - before
    assert grown < memory_limit_kb(p), "%d KiB" % grown


@pytest.mark.bounded(60)
def test_one_gigabyte_up(make):
    total = 1 << 30
    result = []
    p = make.proxy(make.origin(handler=big_origin(total, result)), route={"timeout": "0s"})
    before = warm(p)
    with p.connect(timeout=20) as c:
        c.send(head("POST /big-up HTTP/1.1", [("Host", "a"), ("Content-Length", total)]))
        for b in blocks(total):
            c.sock.sendall(b)
        assert c.response(timeout=20).body == b"got it"
    assert result == [total]
    grown = p.peak_kb() - before
    assert grown < memory_limit_kb(p), "%d KiB" % grown


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_slow_client_slows_the_origin(make, framing):
    """The client reads nothing: the origin is stopped after what the buffers hold."""
    sent = [0]

    def handler(conn):
        conn.request()
        if framing == "length":
            conn.send(head("HTTP/1.1 200 OK", [("Content-Length", 256 * MIB)]))
        else:
            conn.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]))
        piece = b"x" * 65536
        wire_piece = piece if framing == "length" else chunk(piece, last=False)
        conn.sock.settimeout(10)
        try:
            while sent[0] < 256 * MIB:
                conn.sock.sendall(wire_piece)
                sent[0] += len(piece)
        except OSError:
            pass
    p = make.proxy(make.origin(handler=handler), route={"timeout": "0s"},
                   listener={"per_connection_buffer_limit_bytes": 32768},
                   cluster={"per_connection_buffer_limit_bytes": 32768})
    before = p.memory_kb()
    with p.connect(rcvbuf=8192) as c:
        c.ask()
        assert c.reader.response_head().status == 200
        last = -1
        deadline = time.monotonic() + 10
        while sent[0] != last and time.monotonic() < deadline:
            last = sent[0]
            time.sleep(0.4)
        assert sent[0] == last, "the origin stands still"
        assert sent[0] < 40 * MIB, "only socket buffers were filled"
        assert p.memory_kb() - before < memory_limit_kb(p)
        got = len(c.reader.buf)
        c.sock.settimeout(5)
        while got < 2 * MIB:
            got += len(c.sock.recv(65536))
        assert got >= 2 * MIB, "and it goes on when the client reads"


def test_slow_origin_slows_the_client(make):
    gate = threading.Event()
    result = []
    total = 64 * MIB

    def handler(conn):
        request = conn.request_head()
        gate.wait(15)
        first = conn.reader.take(len(conn.reader.buf))
        result.append(receive(conn.sock, first, request.length))
        conn.send(reply(200, b"done"))
    p = make.proxy(make.origin(handler=handler, rcvbuf=8192), route={"timeout": "0s"},
                   listener={"per_connection_buffer_limit_bytes": 32768},
                   cluster={"per_connection_buffer_limit_bytes": 32768})
    before = p.memory_kb()
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", total)]))
        sent = [0]

        def push():
            for b in blocks(total):
                c.sock.settimeout(20)
                c.sock.sendall(b)
                sent[0] += len(b)
        t = threading.Thread(target=push, daemon=True)
        t.start()
        last = -1
        while sent[0] != last:
            last = sent[0]
            time.sleep(0.4)
        assert sent[0] < 40 * MIB
        assert p.memory_kb() - before < memory_limit_kb(p)
        gate.set()
        t.join(15)
        assert c.response(timeout=15).body == b"done"
    assert result == [total]


def test_many_slow_clients_share_little_memory(make):
    """Twenty stuck downloads at once: each holds its watermark, not its body."""
    def handler(conn):
        while conn.request():
            conn.send(head("HTTP/1.1 200 OK", [("Content-Length", 64 * MIB)]))
            try:
                for b in blocks(64 * MIB):
                    conn.send(b)
            except OSError:
                return
    p = make.proxy(make.origin(handler=handler), route={"timeout": "0s"},
                   listener={"per_connection_buffer_limit_bytes": 32768},
                   cluster={"per_connection_buffer_limit_bytes": 32768})
    before = p.memory_kb()
    clients = [p.connect(rcvbuf=8192) for _ in range(20)]
    for c in clients:
        c.ask()
    for c in clients:
        assert c.reader.response_head().status == 200
    time.sleep(0.5)
    assert p.memory_kb() - before < memory_limit_kb(p, 6144)
    with p.connect() as c:
        c.ask()
        assert c.reader.response_head().status == 200
    for c in clients:
        c.reset()
    assert p.wait_stat("http.test.downstream_cx_active", 0) == 0


def test_streams_side_by_side_are_not_mixed(make):
    """Each connection asks for its own bytes and gets them, while others run."""
    def answer(request):
        seed, n = (int(x) for x in request.target[1:].split("-"))
        return reply(200, bytes([seed]) * n)
    p = make.proxy(make.origin(answer), concurrency=2)
    problems = []

    def work(seed):
        try:
            with p.connect() as c:
                for i in range(20):
                    n = (seed * 7919 + i * 10007) % 200000
                    body = c.get("/%d-%d" % (seed, n)).body
                    if body != bytes([seed]) * n:
                        problems.append((seed, n))
        except Exception as e:  # reported below, by the test's own thread
            problems.append((seed, repr(e)))
    threads = [threading.Thread(target=work, args=(s,)) for s in range(1, 13)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert problems == []
