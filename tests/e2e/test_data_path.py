# SPDX-License-Identifier: AGPL-3.0-or-later
"""Corners of the HTTP/1 data path where a request could hang, be lost or be mixed up: lost wake-ups of edge-triggered
descriptors, limits at the moment of a retry, ends that come while nobody looks."""
import signal
import socket
import threading
import time

import pytest

from harness import config
from harness.wire import Client, head, reply
from test_dns import by_name, resolver

CHUNKED = head("HTTP/1.1 200 OK", [("transfer-encoding", "chunked")])


@pytest.mark.parametrize("rest", [b"", b"X-A: b", b"X-A: b\r\n", b"\r"])
def test_upstream_that_ends_inside_the_trailers(make, rest):
    """The end of the stream comes in the same event as the last chunk: nothing else will tell of it."""
    def handler(conn):
        conn.request()
        conn.send(CHUNKED + b"5\r\nhello\r\n0\r\n" + rest)
    p = make.proxy(make.origin(handler=handler), route={"timeout": "0s"})
    for _ in range(5):
        with p.connect() as c:
            c.ask()
            data = c.drain(timeout=3)
            assert b"hello" in data or data == b"" or b" 503 " in data
            assert not data.endswith(b"0\r\n\r\n"), "a cut response is not passed on as whole"
    p.wait_stat("cluster.main.upstream_rq_active", 0)


def test_request_sent_again_at_the_connection_limit(make):
    """One connection allowed. A request on a connection that the upstream has closed goes again, behind another that
    waits: both are served."""
    ready = threading.Event()

    def handler(conn):
        if conn.index == 0:
            conn.request()
            conn.send(reply(200, b"first"))
            conn.request()
            ready.wait(5)
            return
        while conn.request():
            conn.send(reply(200, b"ok"))
    o = make.origin(handler=handler)
    p = make.proxy(o, cluster={"circuit_breakers": {"thresholds": [{"max_connections": 1}]}})
    with p.connect() as a, p.connect() as b:
        assert a.get().body == b"first"
        a.ask()
        o.wait_requests(2)
        b.ask()
        p.wait_stat("cluster.main.upstream_rq_pending_active", 1)
        ready.set()
        assert b.response(timeout=5).status == 200
        assert a.response(timeout=5).status == 200
    assert p.stat("cluster.main.upstream_rq_pending_active") == 0


def endless(conn):
    conn.request()
    conn.send(CHUNKED)
    block = b"%x\r\n%s\r\n" % (4096, b"x" * 4096)
    try:
        while True:
            conn.send(block)
            time.sleep(0.001)
    except OSError:
        return


def test_endless_response_for_a_unix_client_that_has_gone(make, tmp_path):
    """A Unix socket tells of its peer's end when the response has not begun: the failed write is the only other
    sign."""
    path = str(tmp_path / "front")
    o = make.origin(handler=endless)
    text = config.dump(config.bootstrap("@ADMIN@", [config.listener("l", config.pipe(path), config.manager(
        [config.vhost("all", ["*"], [config.to("main", timeout="0s")])]))],
        [config.cluster("main", o)])).replace("'@ADMIN@'", "@ADMIN@")
    p = make.text(text, name="envoy.yaml")
    with Client(path=path) as c:
        c.ask()
        o.wait_requests(1)
    p.wait_stat("cluster.main.upstream_rq_active", 0, timeout=3)
    p.wait_stat("http.test.downstream_cx_active", 0)


def test_endless_response_for_a_client_that_resets(make):
    """The reset may be met by a write first, which takes the error away before the event is looked at."""
    p = make.proxy(make.origin(handler=endless), route={"timeout": "0s"})
    for _ in range(30):
        with p.connect() as c:
            c.ask()
            c.reader.response_head()
            c.reset()
    p.wait_stat("cluster.main.upstream_rq_active", 0, timeout=3)
    p.wait_stat("http.test.downstream_cx_active", 0)


@pytest.mark.parametrize("limit", [1, 8, 20])
def test_request_limit_is_not_lost_between_workers(make, limit):
    """As many requests as the limit allows are served at once, on whichever workers they are."""
    gate = threading.Event()

    def answer(_):
        gate.wait(10)
        return reply(200, b"ok")
    o = make.origin(answer)
    p = make.proxy(o, concurrency=4,
                   cluster={"circuit_breakers": {"thresholds": [{"max_requests": limit}]}})
    clients = [p.connect() for _ in range(limit)]
    for c in clients:
        c.ask()
    o.wait_requests(limit)
    with p.connect() as c:
        assert c.get().status == 503
    gate.set()
    assert [c.response().status for c in clients] == [200] * limit
    for c in clients:
        c.close()
    assert p.get().status == 200


def test_requests_that_wait_in_the_kernel_when_the_drain_begins(make):
    """Sent before the server said anything of its end: they are served, not reset."""
    p = make.proxy(make.origin())
    old = p.connect()
    assert old.get().status == 200
    p.signal(signal.SIGSTOP)
    new = p.connect()
    old.ask()
    new.ask()
    p.signal(signal.SIGTERM)
    time.sleep(0.05)
    p.signal(signal.SIGCONT)
    with old, new:
        for c in (old, new):
            # A worker may answer before the drain has reached it: then it closes the idle connection.
            assert c.response().status == 200
            c.expect_close()


def test_unasked_bytes_behind_a_read_that_filled_the_buffer(make):
    """The response ends exactly where the proxy's read ends; what follows is nobody's answer."""
    size = 65536
    stop = threading.Event()
    sent = threading.Event()

    def handler(conn):
        while conn.request():
            if conn.index == 0:
                start = head("HTTP/1.1 200 OK", [("content-length", size)])
                start = head("HTTP/1.1 200 OK", [("content-length", size - len(start))])
                stop.wait(5)
                conn.send(start + b"a" * (size - len(start)) + reply(200, b"forged"))
                sent.set()
                continue
            conn.send(reply(200, b"true"))
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        c.ask()
        o.wait_requests(1)
        p.signal(signal.SIGSTOP)
        stop.set()
        sent.wait(5)
        time.sleep(0.1)
        p.signal(signal.SIGCONT)
        assert c.response().status == 200
        time.sleep(0.1)
        assert c.get().body == b"true"


@pytest.mark.parametrize("way", ["up", "down", "refused"])
def test_one_fast_connection_does_not_hold_the_worker(make, way):
    """One connection that always has bytes ready; another one on the same worker is served meanwhile."""
    done = threading.Event()
    block = b"x" * (1 << 20)

    def handler(conn):
        request = conn.request_head()
        if request.target == "/small":
            conn.send(reply(200, b"ok"))
            return
        try:
            if way == "down":
                conn.send(head("HTTP/1.1 200 OK", []))
                while not done.is_set():
                    conn.send(block)
                return
            sink = bytearray(1 << 20)
            while not done.is_set() and conn.sock.recv_into(sink):
                pass
        except OSError:
            return
    p = make.proxy(make.origin(handler=handler), route={"timeout": "0s"}, hcm={"delayed_close_timeout": "1s"})

    def run(c):
        sink = bytearray(1 << 20)
        try:
            if way == "down":
                c.ask()
                while not done.is_set() and c.sock.recv_into(sink):
                    pass
                return
            length = "x" if way == "refused" else str(1 << 50)
            c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", length)]))
            while not done.is_set():
                c.sock.sendall(block)
        except OSError:
            return
    worst = 0.0
    with p.connect() as c:
        t = threading.Thread(target=run, args=(c,), daemon=True)
        t.start()
        time.sleep(0.2)
        try:
            for _ in range(20):
                start = time.monotonic()
                assert p.get("/small", timeout=5).status == 200
                worst = max(worst, time.monotonic() - start)
        finally:
            done.set()
        t.join(5)
    assert worst < 1.0


def test_head_larger_than_one_read(make):
    """Above the size of the proxy's own buffer the answer is 431, whatever larger limit is configured."""
    p = make.proxy(make.origin(), hcm={"max_request_headers_kb": 60})
    with p.connect() as c:
        assert c.get(headers=[("X-A", "v" * 60000)]).status == 200
        r = c.get(headers=[("X-A", "v" * 60000), ("X-B", "v" * 60000)])
        assert r.status == 431 and r.get("connection") == "close"
        c.expect_close()


def test_requests_that_wait_for_a_host_that_goes_are_served_by_another(make):
    """Its connections never come up (the accept queue is full), then its name stands for another."""
    o = make.origin()
    full = socket.socket()
    fillers = []
    full.bind(("127.0.0.2", o.port))
    full.listen(0)
    for _ in range(3):
        fillers.append(socket.socket())
        fillers[-1].setblocking(False)
        fillers[-1].connect_ex(full.getsockname())
    ns = make.name_server({"app.internal": ["127.0.0.2"]})
    p = make.proxy(clusters={"main": by_name("app.internal", o.port, dns_refresh_rate="0.2s", connect_timeout="10s",
                                             **resolver(ns))})
    with p.connect() as c:
        c.ask()
        p.wait_stat("cluster.main.upstream_rq_pending_active", 1)
        ns.table["app.internal"] = ["127.0.0.1"]
        assert c.response().status == 200
    p.wait_stat("cluster.main.upstream_rq_pending_active", 0)
    for s in fillers + [full]:
        s.close()


@pytest.mark.parametrize("match", [{"prefix": "/"}, {"safe_regex": {"regex": ".*"}}])
@pytest.mark.parametrize("direct", [False, True])
def test_connect_reaches_nobody(make, match, direct):
    o = make.origin()
    route = {"match": match, "direct_response": {"status": 200}} if direct else config.to("main", match=match)
    p = make.proxy(o, routes=[route])
    with p.connect() as c:
        c.send(b"CONNECT host:80 HTTP/1.1\r\nHost: host:80\r\n\r\n")
        assert c.reader.response_head("CONNECT").status == 403
    assert o.conns == []


@pytest.mark.parametrize("headers", [[], [("Connection", "close")]])
def test_slow_reader_of_a_response_that_the_upstream_has_finished(make, headers):
    """What waits in the proxy goes out for as long as the client goes on reading."""
    size = 12 << 20
    o = make.origin(lambda _: reply(200, b"x" * size))
    p = make.proxy(o, hcm={"stream_idle_timeout": "1s"}, route={"timeout": "0s"},
                   listener={"per_connection_buffer_limit_bytes": 32 << 20})
    with p.connect(rcvbuf=65536) as c:
        c.ask(headers=headers)
        c.reader.response_head()
        p.wait_stat("cluster.main.upstream_rq_active", 0)
        got = len(c.reader.buf)
        while got < size:
            n = len(c.sock.recv(65536))
            assert n > 0, "cut after %d bytes" % got
            got += n
            time.sleep(0.015)
