# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients that are slow, endless, broken or not HTTP at all. After each of them the proxy still serves."""
import random
import socket
import threading
import time

import pytest

from harness import wire
from harness.wire import chunk, head, reply

KIB = 1024
HEAD_MAX = 60 * KIB
FIELDS_MAX = 100


@pytest.fixture
def served(make):
    """Origin and proxy; at the end one more good request must work and no stream be left over."""
    o = make.origin()
    p = make.proxy(o, hcm={"request_headers_timeout": "5s"})
    yield o, p
    with p.connect() as c:
        assert c.get("/still-alive").status == 200
    assert p.wait_stat("http.test.downstream_rq_active", 0) == 0


def refused(c, *statuses):
    r = c.response()
    assert r.status in statuses, r
    assert (r.get("connection") or "").lower() == "close"
    c.expect_close()


def test_head_dripping_in_is_served(served):
    o, p = served
    with p.connect() as c:
        for byte in b"GET /drip HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n":
            c.send(bytes([byte]))
        assert c.response().status == 200
    assert o.last.target == "/drip"


def test_never_ending_field(served):
    o, p = served
    with p.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Big: ")
        for _ in range(40):
            if not c.send(b"a" * 16384):
                break
        refused(c, 431)
    assert o.requests == []


def test_never_ending_field_name_and_line(served):
    o, p = served
    for start in (b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET /", b""):
        with p.connect() as c:
            c.send(start)
            for _ in range(40):
                if not c.send(b"a" * 16384):
                    break
            refused(c, 400, 414, 431)
    assert o.requests == []


def test_never_ending_fields(served):
    o, p = served
    with p.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        for _ in range(200):
            if not c.send(b"X-Y: z\r\n" * 100):
                break
        refused(c, 431)
    assert o.requests == []


@pytest.mark.parametrize("n,status", [(FIELDS_MAX - 1, 200), (FIELDS_MAX, 200),
                                      (FIELDS_MAX + 1, 431)])
def test_number_of_fields(served, n, status):
    """The fields that the client sends count; what the proxy adds does not refuse a request."""
    _, p = served
    with p.connect() as c:
        r = c.get(headers=[("X-%d" % i, "v") for i in range(n - 1)])
        assert r.status == status


@pytest.mark.parametrize("n,status", [(HEAD_MAX - 1, 200), (HEAD_MAX, 200), (HEAD_MAX + 1, 431)])
def test_size_of_the_head(served, n, status):
    _, p = served
    empty = head("GET / HTTP/1.1", [("Host", "a"), ("X-Big", "")])
    with p.connect() as c:
        c.send(head("GET / HTTP/1.1", [("Host", "a"), ("X-Big", "b" * (n - len(empty)))]))
        assert c.response().status == status


def test_many_requests_with_large_heads(served):
    """The limit is one of each head, not of the connection."""
    _, p = served
    with p.connect() as c:
        for _ in range(20):
            assert c.get(headers=[("X-Big", "b" * 50000)]).status == 200


def test_half_closed_client_gets_its_answer(make):
    gate = threading.Event()

    def answer(request):
        gate.wait(5)
        return reply(200, b"for the patient")
    o = make.origin(answer)
    p = make.proxy(o)
    with p.connect() as c:
        c.ask()
        c.shutdown_write()
        o.wait_requests(1)
        time.sleep(0.1)
        gate.set()
        assert c.response().body == b"for the patient"
        c.expect_close()


def test_half_closed_client_with_pipelined_requests(make):
    o = make.origin(lambda r: reply(200, r.target.encode()))
    p = make.proxy(o)
    with p.connect() as c:
        c.send(b"".join(head("GET /%d HTTP/1.1" % i, [("Host", "a")]) for i in range(5)))
        c.shutdown_write()
        for i in range(5):
            assert c.response().body == b"/%d" % i
        c.expect_close()


def test_half_close_inside_a_head(served):
    o, p = served
    with p.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHos")
        c.shutdown_write()
        data = c.drain()
        assert data == b"" or wire.parse_all(data)[0].status == 400
    assert o.requests == []


@pytest.mark.parametrize("chunked", [False, True])
def test_half_close_inside_a_body(make, chunked):
    """The request can never become whole: upstream must not take it for one."""
    ends = []

    def handler(conn):
        request = conn.request_head()
        try:
            conn.reader.body(request)
            ends.append("whole")
        except wire.Closed:
            ends.append("cut")
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "100")
        c.send(head("POST / HTTP/1.1", [("Host", "a"), framing]) +
               (chunk(b"part", last=False) if chunked else b"part"))
        o.wait_requests(1)
        c.shutdown_write()
        data = c.drain()
        assert not data.startswith(b"HTTP/1.1 2")
    assert o.conns[0].ended.wait(5)
    assert ends == ["cut"]


@pytest.mark.parametrize("after", [0, 1, 10, 30, 60, 100])
def test_reset_at_any_point_of_a_request(served, after):
    _, p = served
    whole = head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", "50")]) + b"x" * 50
    for _ in range(5):
        c = p.connect()
        c.send(whole[:after])
        c.reset()


def test_reset_inside_the_response(make):
    """Nobody reads on: an endless response may not be read to its end for a client that has gone."""
    def handler(conn):
        while conn.request():
            conn.send(head("HTTP/1.1 200 OK", [("Content-Length", 1 << 40)]))
            try:
                while True:
                    conn.send(b"x" * 65536)
            except OSError:
                return
    o = make.origin(handler=handler)
    p = make.proxy(o)
    for _ in range(12):
        c = p.connect()
        c.ask()
        assert c.reader.response_head().status == 200
        c.reset()
    for conn in o.wait_conns(12):
        assert conn.ended.wait(2), "the upstream is cut off too"
    assert p.wait_stat("http.test.downstream_cx_active", 0) == 0
    assert p.wait_stat("cluster.main.upstream_rq_active", 0) == 0


def test_many_resets_leave_nothing_behind(served):
    _, p = served
    with p.connect() as c:
        assert c.get().status == 200
    p.wait_stat("http.test.downstream_cx_active", 0)
    before = p.fds()
    for _ in range(200):
        c = p.connect()
        c.ask()
        c.reset()
    p.wait_stat("http.test.downstream_cx_active", 0)
    p.wait_stat("cluster.main.upstream_rq_active", 0)
    assert p.fds() <= before + 50, "only pooled upstream connections may have been added"


JUNK = {
    "tls hello": bytes.fromhex("160301007a010000760303") + bytes(range(111)) + b"\x13\x01" * 4,
    "sslv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    "half an http2 preface": b"PRI * HTTP/2.0\r\n\r\nXM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "smtp": b"EHLO example\r\n\r\n",
    "zeros": b"\x00" * 4096, "redis": b"*1\r\n$4\r\nPING\r\n\r\n", "crlfs": b"\r\n" * 500,
    "lfs": b"\n" * 500, "spaces": b" " * 5000, "http09": b"GET /\r\n\r\n",
    "proxy protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "proxy protocol 2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x7f\x00\x00\x01" * 3,
    "version 3": b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "version 1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("name", sorted(JUNK))
def test_junk_is_refused_and_closed(served, name):
    o, p = served
    with p.connect() as c:
        c.send(JUNK[name])
        c.shutdown_write()
        data = c.drain()
    if data:
        assert [r.status for r in wire.parse_all(data)][0] in (400, 501, 505)
    assert o.requests == []


def test_random_bytes(served):
    o, p = served
    rng = random.Random(7)
    for _ in range(150):
        with p.connect() as c:
            c.send(rng.randbytes(rng.randrange(1, 600)))
            c.shutdown_write()
            data = c.drain()
            assert not data.startswith(b"HTTP/1.1 2")
    assert o.requests == []


def test_mutated_requests(served):
    """One byte of a good request is changed: either it still is one, or it is refused; the strict origin never
    sees anything odd."""
    _, p = served
    good = head("POST /path?q=1 HTTP/1.1", [("Host", "test.example"), ("X-A", "b"),
                                            ("Transfer-Encoding", "chunked")]) + chunk(b"hello")
    rng = random.Random(11)
    for _ in range(300):
        data = bytearray(good)
        data[rng.randrange(len(data))] = rng.randrange(256)
        with p.connect() as c:
            c.send(bytes(data))
            c.shutdown_write()
            for r in wire.parse_all(c.drain()):
                assert r.status in (200, 400, 404, 414, 417, 426, 431, 501, 505), (bytes(data), r)


def test_client_that_never_reads(make):
    """It pipelines and never reads: the proxy stops reading instead of growing."""
    o = make.origin(lambda r: reply(200, b"x" * 10000))
    p = make.proxy(o)
    p.get()
    before = p.memory_kb()
    with p.connect(rcvbuf=4096) as c:
        c.sock.settimeout(0.5)
        sent, most = 0, 40 << 20
        many = head("GET / HTTP/1.1", [("Host", "a")]) * 5000
        try:
            while sent < most:
                sent += c.sock.send(many)
        except TimeoutError:
            pass
        assert sent < most, "backpressure reached the client"
        assert p.memory_kb() - before < (30000 if p.sanitized() else 4000)
        assert p.get().status == 200


def test_connection_limit(make):
    """Beyond the limit connections are closed at accept; those that are there go on."""
    limit = 5
    p = make.proxy(make.origin(), top={"overload_manager": {
        "resource_monitors": [{"name": "envoy.resource_monitors.global_downstream_max_connections",
                               "typed_config": {
                                   "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
                                            "downstream_connections.v3.DownstreamConnectionsConfig",
                                   "max_active_downstream_connections": limit}}]}})
    there = []
    for _ in range(limit):
        c = p.connect()
        assert c.get().status == 200
        there.append(c)
    with p.connect() as extra:
        extra.ask()
        assert extra.drain() == b""
    assert all(c.get().status == 200 for c in there)
    assert p.admin("/ready").status == 200, "the limit is not for the operator"
    assert p.stat("listener.127.0.0.1_%d.downstream_global_cx_overflow" % p.port) == 1
    there.pop().close()
    p.wait_stat("http.test.downstream_cx_active", limit - 1)
    assert p.get().status == 200
    for c in there:
        c.close()


def test_out_of_band_byte(served):
    _, p = served
    with p.connect() as c:
        c.sock.send(b"!", socket.MSG_OOB)
        c.ask()
        data = b""
        if c.readable(2):
            data = c.reader.take(0)
        assert data == b""
