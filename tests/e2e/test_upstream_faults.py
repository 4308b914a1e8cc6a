# SPDX-License-Identifier: AGPL-3.0-or-later
"""Upstreams that refuse, reset, hang, die in the middle, or speak nonsense."""
import threading

import pytest

from harness import config
from harness.ports import free_port
from harness.wire import abort, chunk, head, parse_all, reply


def test_refused(make):
    p = make.proxy(free_port())
    with p.connect() as c:
        for _ in range(3):
            assert c.get().status == 503
    assert p.stat("cluster.main.upstream_cx_connect_fail") == 3


def test_refused_then_back(make):
    port = free_port()
    p = make.proxy(port)
    assert p.get().status == 503
    o = make.origin(port=port)
    assert p.get().status == 200
    assert len(o.requests) == 1


@pytest.mark.parametrize("how", ["close", "reset"])
def test_connection_lost_before_an_answer(make, how):
    def handler(conn):
        conn.request()
        getattr(conn, how)()
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        for _ in range(3):
            assert c.get().status == 503


@pytest.mark.parametrize("how", ["close", "reset"])
def test_connection_lost_on_accept(make, how):
    p = make.proxy(make.origin(handler=lambda conn: getattr(conn, how)()))
    with p.connect() as c:
        assert c.get().status == 503
        assert c.request("POST", "/", body=b"x" * 100).status == 503


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_connection_lost_inside_the_response(make, framing, how):
    """The client must be able to see that the body is not whole."""
    def handler(conn):
        conn.request()
        if framing == "length":
            conn.send(head("HTTP/1.1 200 OK", [("Content-Length", "100")]) + b"partial")
        else:
            conn.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) +
                      chunk(b"partial", last=False))
        ready.wait(5)
        getattr(conn, how)()
    ready = threading.Event()
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.ask()
        assert c.reader.response_head().status == 200
        ready.set()
        rest = c.drain()
        assert b"\r\n0\r\n\r\n" not in rest
        assert rest.endswith(b"partial" if framing == "length" else b"partial\r\n")


def test_pooled_connection_closed_by_the_upstream(make):
    """The pool notices: the next request takes a new connection and succeeds."""
    def handler(conn):
        conn.request()
        conn.send(reply(200, b"ok"))
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        for _ in range(20):
            assert c.get().status == 200
    assert len(o.conns) == 20


def test_close_races_with_the_next_request(make):
    """An upstream that closes without notice at the moment the next request arrives: a GET is safe to send again,
    so the client never sees the race."""
    def handler(conn):
        conn.request()
        conn.send(reply(200, b"ok"))
        if conn.index % 2 == 0:
            conn.request()
            conn.reset()
            return
        while conn.request():
            conn.send(reply(200, b"ok"))
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        got = [c.get().status for _ in range(4)]
    assert got[0] == 200 and got.count(200) >= 3
    assert all(s in (200, 503) for s in got)


def test_post_is_never_sent_twice(make):
    seen = []

    def handler(conn):
        first = conn.request()
        seen.append(first.target)
        if first.target == "/warm":
            conn.send(reply(200, b"ok"))
            second = conn.request()
            if second:
                seen.append(second.target)
        conn.reset()
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        assert c.get("/warm").status == 200
        r = c.request("POST", "/order", body=b"one")
        assert r.status == 503
    assert seen.count("/order") == 1


def test_killed_upstream_process(make):
    n = make.nginx()
    p = make.proxy(n)
    with p.connect() as c:
        assert c.get().status == 200
        n.process.kill()
        n.process.wait(5)
        assert c.get().status == 503
        assert c.get().status == 503


def test_hanging_upstream_does_not_hold_others(make):
    stuck = make.origin(handler=lambda conn: conn.wait_closed(20))
    good = make.origin()
    p = make.proxy(clusters={"stuck": stuck, "good": good}, routes=[
        config.to("stuck", "/stuck", timeout="10s"), config.to("good")])
    with p.connect() as hung, p.connect() as c:
        hung.ask("GET", "/stuck")
        stuck.wait_conns(1)
        for _ in range(20):
            assert c.get("/", timeout=2).status == 200
        hung.reset()
    stuck.wait_conns(1)[0].ended.wait(5)
    assert p.wait_stat("cluster.stuck.upstream_rq_active", 0) == 0


def test_client_gone_cancels_the_upstream_request(make):
    o = make.origin(handler=lambda conn: (conn.request(), conn.wait_closed(10)))
    p = make.proxy(o)
    c = p.connect()
    c.ask()
    o.wait_requests(1)
    c.reset()
    assert o.conns[0].ended.wait(5), "the upstream is told"
    assert p.wait_stat("http.test.downstream_rq_active", 0) == 0


GARBAGE = {
    "junk": b"\x00\x01\x02\x03junk\r\n\r\n",
    "no version": b"200 OK\r\n\r\n",
    "http2": b"HTTP/2 200\r\n\r\n",
    "http09": b"<html>hello</html>\r\n\r\n",
    "bad status": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 99": b"HTTP/1.1 099 X\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "cl and te": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two cl": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "bad cl": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 0\r\n\r\n",
    "fold": b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "bare cr": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "bare lf": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "endless line": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200000,
    "endless fields": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 5000,
}


@pytest.mark.parametrize("name", sorted(GARBAGE))
def test_garbage_is_502(make, name):
    def handler(conn):
        conn.request()
        conn.send(GARBAGE[name])
        conn.wait_closed(10)
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        for _ in range(2):
            r = c.get()
            assert r.status == 502, (r.status, r.body)
    assert len(o.conns) == 2, "never used again"


BAD_CHUNKS = {
    "not hex": b"xyz\r\nhello\r\n0\r\n\r\n", "negative": b"-1\r\nhello\r\n0\r\n\r\n",
    "prefix": b"0x5\r\nhello\r\n0\r\n\r\n", "overflow": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "no crlf": b"5\r\nhelloX0\r\n\r\n", "bare lf": b"5\nhello\n0\n\n",
    "space": b" 5\r\nhello\r\n0\r\n\r\n", "empty": b"\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", sorted(BAD_CHUNKS))
def test_bad_chunks_from_the_upstream(make, name):
    """Together with the head: 502. Nothing of the nonsense is passed on as a whole message."""
    def handler(conn):
        conn.request()
        conn.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + BAD_CHUNKS[name])
        conn.wait_closed(10)
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.ask(headers=[("Connection", "close")])
        data = c.drain()
    assert b"0\r\n\r\n" not in data
    if not data.startswith(b"HTTP/1.1 200"):
        assert parse_all(data)[0].status == 502


def test_bad_chunk_after_good_ones_cuts_the_client(make):
    def handler(conn):
        conn.request()
        conn.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) +
                  chunk(b"good", last=False))
        go.wait(5)
        conn.send(b"zz\r\nbad\r\n0\r\n\r\n")
        conn.wait_closed(10)
    go = threading.Event()
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.ask()
        assert c.reader.response_head().status == 200
        assert next(c.reader.chunked())[0] == b"good"
        go.set()
        assert b"bad" not in c.drain() and b"0\r\n\r\n" not in c.received


def test_bytes_after_the_response_are_not_the_next_one(make):
    """A response-splitting upstream: what follows unasked must not answer the next request."""
    def handler(conn):
        conn.request()
        conn.send(reply(200, b"mine") + reply(200, b"planted"))
        while conn.request():
            conn.send(reply(200, b"second"))
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        for _ in range(6):
            assert c.get().body == b"mine"
    assert len(o.conns) == 6


def test_unasked_response_on_an_idle_connection(make):
    """Later, while the connection lies in the pool."""
    sent = threading.Event()

    def handler(conn):
        conn.request()
        conn.send(reply(200, b"mine"))
        ready.wait(5)
        conn.send(reply(200, b"planted"))
        sent.set()
        conn.wait_closed(10)
    ready = threading.Event()
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        assert c.get().body == b"mine"
        ready.set()
        assert sent.wait(5)
        o.conns[0].ended.wait(5)
        assert c.get().body == b"mine"
    assert len(o.conns) == 2


def test_body_after_a_head_response_is_not_believed(make):
    def handler(conn):
        request = conn.request()
        extra = b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n" if request.method == "HEAD" else \
            b"the body of 25 characters"
        conn.send(head("HTTP/1.1 200 OK", [("Content-Length", "25")]) + extra)
        conn.wait_closed(10)
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        assert c.request("HEAD", "/").status == 200
        assert c.get().body == b"the body of 25 characters"


def test_half_closed_upstream_still_answers(make):
    """FIN from the upstream after its answer is no error."""
    def handler(conn):
        conn.request()
        conn.send(reply(200, b"whole"))
        conn.shutdown_write()
        conn.wait_closed(10)
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        for _ in range(3):
            assert c.get().body == b"whole"


def test_upstream_resets_during_upload(make):
    def handler(conn):
        conn.request_head()
        abort(conn.sock)
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 4 << 20)]))
        for _ in range(64):
            if not c.send(b"x" * 65536):
                break
        assert c.response().status in (502, 503)


@pytest.mark.parametrize("limit,requests,ok", [(2, 2, 2), (2, 3, 2), (1, 1, 1), (1, 2, 1)])
def test_circuit_breaker_on_requests(make, limit, requests, ok):
    gate = threading.Event()

    def answer(_):
        gate.wait(10)
        return reply(200, b"ok")
    o = make.origin(answer)
    p = make.proxy(o, cluster={"circuit_breakers": {"thresholds": [{"max_requests": limit}]}})
    clients = [p.connect() for _ in range(requests)]
    for i, c in enumerate(clients):
        c.ask()
        o.wait_requests(min(i + 1, limit))
    refused = [c for c in clients if c.readable(0.3)]
    assert len(refused) == requests - ok
    assert all(c.response().status == 503 for c in refused)
    gate.set()
    assert sum(c.response().status == 200 for c in clients if c not in refused) == ok
    for c in clients:
        c.close()


def test_circuit_breaker_on_connections_and_pending(make):
    """One connection, one waiting request: the third is refused, the second served afterwards."""
    gate = threading.Event()

    def answer(_):
        gate.wait(10)
        return reply(200, b"ok")
    o = make.origin(answer)
    p = make.proxy(o, cluster={"circuit_breakers": {"thresholds": [
        {"max_connections": 1, "max_pending_requests": 1}]}})
    with p.connect() as a, p.connect() as b, p.connect() as c:
        a.ask()
        o.wait_requests(1)
        b.ask()
        p.wait_stat("cluster.main.upstream_rq_pending_active", 1)
        assert c.get().status == 503
        gate.set()
        assert a.response().status == 200 and b.response().status == 200
    assert len(o.conns) == 1
    assert p.stat("cluster.main.upstream_rq_pending_overflow") == 1
