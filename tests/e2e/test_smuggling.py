# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table tests/data/smuggling.json through the whole proxy, on raw sockets.

What is to be refused is answered 4xx or 5xx (502 towards a bad upstream), the connection is closed, and nothing
of it reaches the other side.
"""
import json
import os

import pytest

from harness import wire
from harness.proxy import ROOT
from harness.wire import head, reply

with open(os.path.join(ROOT, "tests", "data", "smuggling.json"), encoding="utf-8") as f:
    TABLE = json.load(f)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
CHUNKED = head("POST /carrier HTTP/1.1", [("Host", "a.example"), ("Transfer-Encoding", "chunked")])
CHUNKED_RESPONSE = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")])
HTTP10 = {"codec_type": "HTTP1", "http_protocol_options": {"accept_http_10": True}}
LARGE = 8192  # may arrive in pieces


def vectors(kind, ok):
    return [pytest.param(v["bytes"].encode("latin-1"), id=v["name"]) for v in TABLE
            if v["kind"] == kind and (v["expect"] == "ok") == ok and v["expect"] != "more"]


@pytest.fixture(scope="module")
def virgin(make_shared):
    """An origin that nothing may ever reach."""
    o = make_shared.origin(name="virgin")
    p = make_shared.proxy(o, hcm=HTTP10)
    yield o, p
    assert p.stat("cluster.main.upstream_rq_total") == 0
    assert o.conns == []


def test_table_is_there():
    assert len(TABLE) > 300
    assert {v["kind"] for v in TABLE} == {"request", "response", "body"}


@pytest.mark.parametrize("data", vectors("request", False))
def test_request_is_refused(virgin, data):
    o, p = virgin
    with p.connect() as c:
        c.send(data + SMUGGLED)
        r = c.response()
        assert 400 <= r.status <= 505, r
        assert (r.get("connection") or "").lower() == "close"
        c.expect_close()
    assert o.conns == []


@pytest.mark.parametrize("data", vectors("request", False))
def test_request_in_pieces_is_refused(virgin, data):
    """The same with a border between two reads in the worst places."""
    o, p = virgin
    if len(data) > LARGE:
        cuts = [len(data) // 2]
    else:
        cuts = [1, len(data) // 2, len(data) - 1]
    for cut in cuts:
        with p.connect() as c:
            c.send(data[:cut])
            if not c.readable(0.002):
                c.send(data[cut:] + SMUGGLED)
            assert 400 <= c.response().status <= 505
            c.expect_close()
    assert o.conns == []


@pytest.fixture(scope="module")
def open_pair(make_shared):
    """An origin with a strict reader of its own: whatever passes must be whole and plain."""
    o = make_shared.origin(lambda r: reply(200, b"", [("x-target", r.target)]), name="strict")
    return o, make_shared.proxy(o, hcm=HTTP10)


@pytest.mark.parametrize("data", vectors("request", True))
def test_accepted_request_arrives_plain(open_pair, data):
    o, p = open_pair
    method = data.split(b" ")[0].strip().decode()
    with p.connect() as c:
        c.send(data)
        c.shutdown_write()
        for r in wire.parse_all(c.drain(), method):
            assert r.status in (100, 200, 400, 403, 404, 405, 501)
    assert o.errors() == []


def test_body_that_looks_like_a_request_is_a_body(open_pair):
    o, p = open_pair
    inner = b"GET /admin HTTP/1.1\r\nHost: a.example\r\n\r\n"
    seen = len(o.requests)
    r = p.request("POST", "/outer", body=inner)
    assert r.status == 200
    r = p.request("GET", "/outer-get", body=inner)
    assert r.status == 200
    assert [(q.target, q.body) for q in o.requests[seen:]] == [("/outer", inner),
                                                               ("/outer-get", inner)]


@pytest.mark.parametrize("data", vectors("body", False))
def test_bad_chunks_with_the_head_are_refused(waiting, data):
    """The head waits until the bytes that came with it are checked."""
    o, p = waiting
    before = len(o.conns)
    with p.connect() as c:
        c.send(CHUNKED + data + SMUGGLED)
        r = c.response()
        assert 400 <= r.status <= 505
        c.expect_close()
    if len(data) <= LARGE:
        assert len(o.conns) == before, "nothing was forwarded"
    assert not any(q.target == "/smuggled" for q in o.requests)


@pytest.fixture(scope="module")
def waiting(make_shared):
    o = make_shared.origin(name="waiting")
    return o, make_shared.proxy(o, hcm=HTTP10)


@pytest.mark.parametrize("data", vectors("body", False))
def test_bad_chunks_after_the_head_never_become_a_request(streaming, data):
    """The head has gone to the origin already: it must see a request that never ends well."""
    o, p, ends = streaming
    before = len(o.requests)
    with p.connect() as c:
        c.send(CHUNKED)
        conn = o.wait_requests(before + 1)[before].conn
        c.send(data + SMUGGLED)
        answer = c.drain()
        for r in wire.parse_all(answer):
            assert 400 <= r.status <= 505
        assert not answer.startswith(b"HTTP/1.1 2")
    assert conn.ended.wait(5)
    assert ends.get(conn.index) == "cut"
    assert b"/smuggled" not in conn.received
    assert len(o.requests) == before + 1


@pytest.fixture(scope="module")
def streaming(make_shared):
    ends = {}

    def handler(conn):
        request = conn.request_head(60)
        try:
            conn.reader.body(request)
            ends[conn.index] = "whole"
            conn.send(reply(200, b"ok", [("Connection", "close")]))
        except wire.Closed:
            ends[conn.index] = "cut"
    o = make_shared.origin(handler=handler, name="streaming")
    return o, make_shared.proxy(o, hcm=HTTP10), ends


@pytest.mark.parametrize("data", vectors("body", True))
def test_good_chunks_arrive_plain(open_pair, data):
    o, p = open_pair
    before = len(o.requests)
    with p.connect() as c:
        c.send(CHUNKED + data)
        assert c.response().status == 200
        c.send(head("GET /after HTTP/1.1", [("Host", "a.example")]))
        assert c.response().get("x-target") == "/after"
    assert [q.target for q in o.requests[before:]] == ["/carrier", "/after"]
    assert o.errors() == []


@pytest.mark.parametrize("data", [pytest.param(v["bytes"].encode("latin-1"), id=v["name"])
                                  for v in TABLE if v["expect"] == "more"])
def test_cut_bodies_never_become_a_request(streaming, data):
    o, p, ends = streaming
    with p.connect() as c:
        c.send(CHUNKED + data)
        c.shutdown_write()
        assert not c.drain().startswith(b"HTTP/1.1 2")
    for conn in list(o.conns):  # one that never got a request may lie in the pool
        assert not conn.requests or conn.ended.wait(5)
    assert "whole" not in ends.values()


class BadUpstream:
    """Answers each connection's first request with the bytes of the current test."""

    def __init__(self, make_shared):
        self.data = b""
        self.origin = make_shared.origin(handler=self.handle, name="bad")
        self.proxy = make_shared.proxy(self.origin, hcm=HTTP10)

    def handle(self, conn):
        if conn.request() is None:
            return
        conn.send(self.data)
        conn.planted = conn.wait_closed(5)


@pytest.fixture(scope="module")
def bad(make_shared):
    return BadUpstream(make_shared)


@pytest.mark.parametrize("data", vectors("response", False))
def test_response_is_refused(bad, data):
    planted = b"HTTP/1.1 200 OK\r\nX-Planted: 1\r\nContent-Length: 7\r\n\r\nplanted"
    bad.data = data + planted
    before = len(bad.origin.conns)
    with bad.proxy.connect() as c:
        r = c.get("/one")
        assert r.status == 502, r
        assert b"planted" not in c.received.lower() and b"set-cookie" not in c.received.lower()
        c.expect_alive(0.005)
    conn = bad.origin.conns[before]
    assert conn.ended.wait(5), "the upstream connection is closed"
    assert len(bad.origin.conns) == before + 1


@pytest.mark.parametrize("data", vectors("body", False))
def test_response_body_is_refused(bad, data):
    """502, or an answer that visibly was cut; never a whole one, never the bytes behind."""
    bad.data = CHUNKED_RESPONSE + data + b"HTTP/1.1 200 OK\r\nX-Planted: 1\r\n\r\n"
    with bad.proxy.connect() as c:
        c.ask(headers=[("Connection", "close")])
        got = c.drain()
    assert b"X-Planted" not in got and b"x-planted" not in got.split(b"\r\n\r\n")[0].lower()
    if got.startswith(b"HTTP/1.1 502"):
        assert len(wire.parse_all(got)) == 1
        return
    with pytest.raises(wire.WireError):
        wire.parse_all(got)


@pytest.mark.parametrize("data", vectors("response", True))
def test_accepted_response_arrives_plain(bad, data):
    """What passes is read by the strict reader without complaint."""
    def handle(conn):
        if conn.request() is not None:
            conn.send(data)
    bad.origin.handler = handle
    try:
        with bad.proxy.connect() as c:
            c.ask(headers=[("Connection", "close")])
            got = wire.parse_all(c.drain())
        assert len(got) == 1 and 200 <= got[0].status <= 599
    finally:
        bad.origin.handler = bad.handle


def test_two_connections_of_one_client_are_not_mixed(open_pair):
    """After a refused message the next connection starts clean."""
    o, p = open_pair
    with p.connect() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"0\r\n\r\nX")
        assert c.response().status == 400
    with p.connect() as c:
        assert c.get("/clean").get("x-target") == "/clean"
    assert o.last.method == "GET"
