# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each timeout acts, at about its time, and only then."""
import time

import pytest

from harness.wire import head, reply


def silent(conn):
    """Reads and never answers."""
    while conn.request():
        pass


class Clock:
    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        self.took = time.monotonic() - self.start


def test_route_timeout(make):
    o = make.origin(handler=silent)
    p = make.proxy(o, route={"timeout": "0.4s"})
    with p.connect() as c, Clock() as t:
        r = c.get()
        assert (r.status, r.body) == (504, b"upstream request timeout")
    assert 0.35 <= t.took < 2
    assert o.conns[0].wait_closed() == b"", "the connection that owes an answer is not used again"
    assert p.stat("cluster.main.upstream_rq_timeout") == 1


def test_route_timeout_does_not_cut_a_quick_answer(make):
    def answer(_):
        time.sleep(0.2)
        return reply(200, b"ok")
    p = make.proxy(make.origin(answer), route={"timeout": "1s"})
    with p.connect() as c:
        for _ in range(3):
            assert c.get().status == 200


def test_route_timeout_inside_the_response(make):
    """The head has gone: all that is left is to cut the connection."""
    def handler(conn):
        conn.request()
        conn.send(head("HTTP/1.1 200 OK", [("Content-Length", "10")]) + b"12345")
        conn.wait_closed(10)
    p = make.proxy(make.origin(handler=handler), route={"timeout": "0.4s"})
    with p.connect() as c:
        c.ask()
        r = c.reader.response_head()
        assert r.status == 200
        assert c.drain().endswith(b"12345")


def test_route_timeout_counts_from_the_end_of_the_request(make):
    """A slow upload is not the upstream's fault."""
    p = make.proxy(make.origin(), route={"timeout": "0.5s"})
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", "4")]))
        for byte in (b"a", b"b", b"c", b"d"):
            time.sleep(0.2)
            c.send(byte)
        assert c.response().status == 200


def test_route_timeout_zero_is_none(make):
    def answer(_):
        time.sleep(0.5)
        return reply(200, b"late")
    p = make.proxy(make.origin(answer), route={"timeout": "0s"})
    assert p.get().body == b"late"


def test_connect_timeout(make):
    """A full accept queue: SYNs are dropped, so connecting hangs."""
    import socket
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    fillers = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", port))
        fillers.append(s)
    p = make.proxy(port, cluster={"connect_timeout": "0.4s"}, route={"timeout": "5s"})
    with Clock() as t:
        r = p.get()
    for s in fillers + [full]:
        s.close()
    assert r.status in (503, 504)
    assert 0.3 <= t.took < 3
    assert p.stat("cluster.main.upstream_cx_connect_timeout") == 1


def test_idle_timeout_of_the_client_connection(make):
    p = make.proxy(make.origin(), hcm={"common_http_protocol_options": {"idle_timeout": "0.4s"}})
    with p.connect() as c:
        assert c.get().status == 200
        with Clock() as t:
            c.expect_close(5)
    assert 0.3 <= t.took < 2
    with p.connect() as c, Clock() as t:
        c.expect_close(5)
    assert 0.3 <= t.took < 2, "also before the first request"
    assert p.stat("http.test.downstream_cx_idle_timeout") == 2


def test_idle_timeout_leaves_a_busy_connection(make):
    def answer(_):
        time.sleep(0.8)
        return reply(200, b"ok")
    p = make.proxy(make.origin(answer), hcm={
        "common_http_protocol_options": {"idle_timeout": "0.3s"}})
    with p.connect() as c:
        assert c.get().status == 200


def test_idle_timeout_of_the_upstream_connection(make):
    o = make.origin()
    options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
               "common_http_protocol_options": {"idle_timeout": "0.4s"},
               "explicit_http_config": {"http_protocol_options": {}}}
    p = make.proxy(o, cluster={"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}})
    assert p.get().status == 200
    assert o.conns[0].ended.wait(5), "the pooled connection was closed"
    assert p.get().status == 200 and len(o.conns) == 2
    assert p.stat("cluster.main.upstream_cx_idle_timeout") == 1


def test_request_headers_timeout(make):
    o = make.origin()
    p = make.proxy(o, hcm={"request_headers_timeout": "0.4s"})
    with p.connect() as c, Clock() as t:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        assert c.response().status == 408
        c.expect_close()
    assert 0.3 <= t.took < 2
    assert o.requests == []


def test_request_headers_timeout_is_not_prolonged_by_dripping(make):
    p = make.proxy(make.origin(), hcm={"request_headers_timeout": "0.5s"})
    with p.connect() as c, Clock() as t:
        c.drip(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200, 0.02)
        assert c.response().status == 408
    assert 0.4 <= t.took < 2


def test_request_headers_timeout_spares_the_next_request(make):
    """Idle time between requests is not header time."""
    p = make.proxy(make.origin(), hcm={"request_headers_timeout": "0.3s"})
    with p.connect() as c:
        for _ in range(2):
            assert c.get().status == 200
            time.sleep(0.5)
        assert c.get().status == 200


def test_request_timeout(make):
    p = make.proxy(make.origin(), hcm={"request_timeout": "0.5s"})
    with p.connect() as c, Clock() as t:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", "100")]))
        c.drip(b"x" * 99, 0.03)
        assert c.response().status == 408
        c.expect_close()
    assert 0.4 <= t.took < 2


def test_stream_idle_timeout_with_a_stuck_client(make):
    p = make.proxy(make.origin(), hcm={"stream_idle_timeout": "0.4s"})
    with p.connect() as c, Clock() as t:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", "100")]) + b"x")
        assert c.response().status in (408, 504)
        c.expect_close()
    assert 0.3 <= t.took < 2
    assert p.stat("http.test.downstream_rq_idle_timeout") == 1


def test_stream_idle_timeout_with_a_stuck_upstream(make):
    p = make.proxy(make.origin(handler=silent), hcm={"stream_idle_timeout": "0.4s"},
                   route={"timeout": "0s"})
    with p.connect() as c, Clock() as t:
        assert c.get().status in (408, 504)
    assert 0.3 <= t.took < 2


def test_stream_idle_timeout_is_moved_by_activity(make):
    def handler(conn):
        conn.request()
        conn.send(head("HTTP/1.1 200 OK", [("Content-Length", "8")]))
        for _ in range(8):
            time.sleep(0.15)
            conn.send(b"x")
    p = make.proxy(make.origin(handler=handler), hcm={"stream_idle_timeout": "0.6s"},
                   route={"timeout": "0s"})
    assert p.get().body == b"x" * 8


def test_route_idle_timeout_overrides(make):
    p = make.proxy(make.origin(handler=silent), hcm={"stream_idle_timeout": "20s"},
                   route={"timeout": "0s", "idle_timeout": "0.4s"})
    with Clock() as t:
        assert p.get().status in (408, 504)
    assert 0.3 <= t.took < 2


def test_max_connection_duration(make):
    p = make.proxy(make.origin(), hcm={"common_http_protocol_options": {
        "max_connection_duration": "0.5s"}, "drain_timeout": "0.2s"})
    with p.connect() as c, Clock() as t:
        while t_left(t):
            try:
                r = c.get()
            except AssertionError:
                break
            assert r.status == 200
            if (r.get("connection") or "").lower() == "close":
                c.expect_close()
                break
            time.sleep(0.02)
    assert 0.4 <= t.took < 3
    assert p.stat("http.test.downstream_cx_max_duration_reached") == 1


def t_left(clock):
    return time.monotonic() - clock.start < 4


@pytest.mark.parametrize("n", [1, 2, 5])
def test_max_requests_per_connection(make, n):
    p = make.proxy(make.origin(), hcm={"common_http_protocol_options": {
        "max_requests_per_connection": n}})
    with p.connect() as c:
        for i in range(n):
            r = c.get()
            assert r.status == 200
            assert r.has("connection") == (i == n - 1)
        c.expect_close()


def test_max_requests_per_upstream_connection(make):
    o = make.origin()
    options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
               "common_http_protocol_options": {"max_requests_per_connection": 3},
               "explicit_http_config": {"http_protocol_options": {}}}
    p = make.proxy(o, cluster={"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}})
    with p.connect() as c:
        for _ in range(7):
            assert c.get().status == 200
    assert [len(k.requests) for k in o.conns] == [3, 3, 1]


def test_delayed_close_gives_the_client_time_to_read(make):
    """A refused upload: the answer is not lost to a reset, although the client goes on sending."""
    p = make.proxy(clusters={}, routes=[{"match": {"prefix": "/"},
                                         "direct_response": {"status": 413}}],
                   hcm={"delayed_close_timeout": "1s"})
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 8 << 20)]))
        for _ in range(64):
            if not c.send(b"x" * 65536):
                break
        assert c.response().status == 413


def test_timers_do_not_fire_for_finished_streams(make):
    """Many short requests with short timeouts; afterwards nothing happens to the connection."""
    p = make.proxy(make.origin(), hcm={"stream_idle_timeout": "0.3s", "request_timeout": "0.3s"},
                   route={"timeout": "0.3s"})
    with p.connect() as c:
        for _ in range(50):
            assert c.get().status == 200
        time.sleep(0.5)
        assert c.get().status == 200
