# SPDX-License-Identifier: AGPL-3.0-or-later
"""The message itself: methods, bodies, versions, connection handling, what is added and stripped."""
import re
import threading

import pytest

from harness import wire
from harness.peers import pattern
from harness.wire import chunk, head, reply

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "X-ODD"]


def echo(request):
    """Answers with the request's body."""
    return reply(200, request.body, [("x-method", request.method)])


# ---- methods and bodies


@pytest.mark.parametrize("method", METHODS)
def test_methods_pass_unchanged(make, method):
    o = make.origin(lambda r: reply(200, b"" if r.method == "HEAD" else b"hi"))
    p = make.proxy(o)
    r = p.request(method, "/m?q=1")
    assert r.status == 200
    assert (o.last.method, o.last.target) == (method, "/m?q=1")
    assert o.last.get("host") == "test"
    assert r.body == (b"" if method == "HEAD" else b"hi")


@pytest.mark.parametrize("n", [0, 1, 2, 4095, 4096, 4097, 16384, 65535, 65536, 65537, 1 << 20,
                               5 * (1 << 20) + 1])
def test_body_sizes_both_ways(make, n):
    o = make.origin(echo)
    p = make.proxy(o)
    body = pattern(n)
    with p.connect() as c:
        r = c.request("POST", "/", body=body)
        assert r.status == 200 and r.body == body and r.framing == "length"
        assert o.last.body == body
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]))
        c.send(b"".join(chunk(body[i:i + 7777], last=False) for i in range(0, n, 7777)) + chunk())
        r = c.response()
        assert r.status == 200 and r.body == body
        assert o.last.framing == "chunked" or n == 0, "an empty body needs no framing"


@pytest.mark.parametrize("sizes", [[1], [1, 1, 1], [4096, 1], [65536, 65536, 3], [100000]])
def test_chunked_response_keeps_its_content(make, sizes):
    parts = [pattern(n, i) for i, n in enumerate(sizes)]
    o = make.origin(lambda r: reply(200, chunk(*parts), [("transfer-encoding", "chunked")],
                                    length=False))
    p = make.proxy(o)
    with p.connect() as c:
        for _ in range(2):
            r = c.get()
            assert r.body == b"".join(parts) and r.framing == "chunked"
    assert len(o.conns) == 1, "the upstream connection is used again"


def test_chunked_request_written_byte_by_byte(make):
    o = make.origin(echo)
    p = make.proxy(o)
    with p.connect() as c:
        whole = head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) + \
            chunk(b"hello", b" ", b"world")
        for i in range(len(whole)):
            c.send(whole[i:i + 1])
        assert c.response().body == b"hello world"
    assert o.last.body == b"hello world"


def test_response_written_byte_by_byte(make):
    data = reply(200, chunk(b"ab", b"cde"), [("Transfer-Encoding", "chunked"), ("X-A", "b")],
                 length=False)

    def slow(conn):
        while conn.request():
            for i in range(len(data)):
                conn.send(data[i:i + 1])
    p = make.proxy(make.origin(handler=slow))
    with p.connect() as c:
        for _ in range(2):
            r = c.get()
            assert r.body == b"abcde" and r.get("x-a") == "b"


def test_chunk_extensions_are_not_forwarded(make):
    o = make.origin(lambda r: reply(200, b"3;name=value\r\nabc\r\n0;last\r\n\r\n",
                                    [("transfer-encoding", "chunked")], length=False))
    p = make.proxy(o)
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) +
               b"5;evil=\"1\"\r\nhello\r\n0\r\n\r\n")
        r = c.response()
    assert r.body == b"abc" and b"name=value" not in c.received
    assert o.last.body == b"hello" and b"evil" not in o.received()


def test_body_until_close(make):
    def handler(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\npart one, ")
        conn.send(b"part two")
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        r = c.get()
        assert r.body == b"part one, part two"
        assert r.framing == "chunked", "the client's connection need not be closed for it"
        assert c.get().status == 200
    assert len(o.conns) == 2


# ---- trailers


def trailer_client(c):
    c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked"),
                                    ("TE", "trailers")]) +
           chunk(b"body", trailers=[("X-Sum", "1"), ("Content-Length", "999"), ("Host", "evil")]))
    return c.response()


def trailer_answer(_):
    return reply(200, chunk(b"data", trailers=[("X-Back", "2"), ("Transfer-Encoding", "gzip")]),
                 [("transfer-encoding", "chunked")], length=False)


def test_trailers_are_dropped_by_default(make):
    o = make.origin(trailer_answer)
    p = make.proxy(o)
    with p.connect() as c:
        r = trailer_client(c)
        assert r.body == b"data" and r.trailers == []
        assert c.get().status == 200
    assert o.requests[0].body == b"body" and o.requests[0].trailers == []


def test_trailers_are_forwarded_when_enabled(make):
    o = make.origin(trailer_answer)
    p = make.proxy(o, hcm={"http_protocol_options": {"enable_trailers": True}})
    with p.connect() as c:
        r = trailer_client(c)
        assert r.trailers == [("x-back", "2")], "framing fields are never taken from trailers"
        assert c.get().status == 200
    assert o.requests[0].trailers == [("x-sum", "1")]


# ---- answers without a body


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_status(make, status):
    o = make.origin(lambda r: wire.head("HTTP/1.1 %d X" % status, [("ETag", '"a"')])
                    if r.target == "/x" else reply(200, b"next"))
    p = make.proxy(o)
    with p.connect() as c:
        r = c.get("/x")
        assert r.status == status and r.body == b"" and r.get("etag") == '"a"'
        assert c.get("/y").body == b"next"


def test_304_with_content_length_has_no_body(make):
    o = make.origin(lambda r: wire.head("HTTP/1.1 304 X", [("Content-Length", "1000")])
                    if r.target == "/x" else reply(200, b"next"))
    p = make.proxy(o)
    with p.connect() as c:
        assert c.get("/x").status == 304
        assert c.get("/y").body == b"next"
    assert len(o.conns) == 1


def test_head_keeps_the_length_and_the_connection(make):
    o = make.origin(lambda r: wire.head("HTTP/1.1 200 OK", [("Content-Length", "12345")])
                    if r.method == "HEAD" else reply(200, b"next"))
    p = make.proxy(o)
    with p.connect() as c:
        r = c.request("HEAD", "/")
        assert r.status == 200 and r.length == 12345 and r.body == b""
        assert c.get().body == b"next"
    assert len(o.conns) == 1


def test_head_chunked(make):
    o = make.origin(lambda r: wire.head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")])
                    if r.method == "HEAD" else reply(200, b"next"))
    p = make.proxy(o)
    with p.connect() as c:
        assert c.request("HEAD", "/").body == b""
        assert c.get().body == b"next"


# ---- versions and connections


def test_http10_is_answered_and_closed(make):
    o = make.origin()
    p = make.proxy(o, hcm={"http_protocol_options": {"accept_http_10": True}})
    with p.connect() as c:
        r = c.get("/", minor=0)
        assert r.status == 200 and r.body == b"ok" and r.framing != "chunked"
        c.expect_close()
    assert o.last.minor == 1, "upstream is always HTTP/1.1"


def test_http10_keep_alive(make):
    o = make.origin()
    p = make.proxy(o, hcm={"http_protocol_options": {"accept_http_10": True}})
    with p.connect() as c:
        for _ in range(3):
            r = c.get("/", minor=0, headers=[("Connection", "keep-alive")])
            assert r.status == 200 and (r.get("connection") or "").lower() == "keep-alive"
    assert len(o.requests) == 3


def test_http10_never_sees_chunked(make):
    o = make.origin(lambda r: reply(200, chunk(b"abc", b"def"), [("transfer-encoding", "chunked")],
                                    length=False))
    p = make.proxy(o, hcm={"http_protocol_options": {"accept_http_10": True}})
    with p.connect() as c:
        r = c.get("/", minor=0, headers=[("Connection", "keep-alive")])
        assert r.framing == "close" and r.body == b"abcdef"


def test_http10_without_host(make):
    o = make.origin()
    p = make.proxy(o, hcm={"http_protocol_options": {"accept_http_10": True,
                                                     "default_host_for_http_10": "standin"}})
    with p.connect() as c:
        assert c.get("/", minor=0, host=None).status == 200
    assert o.last.get("host") == "standin"


def test_http10_refused_unless_enabled(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        assert c.get("/", minor=0).status == 426
        c.expect_close()
    assert o.requests == []


def test_keep_alive_uses_one_connection_each_side(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        for i in range(20):
            r = c.get("/%d" % i)
            assert r.status == 200 and not r.has("connection")
    assert [r.target for r in o.requests] == ["/%d" % i for i in range(20)]
    assert len(o.conns) == 1


def test_connection_close_is_honoured(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        r = c.get(headers=[("Connection", "close")])
        assert r.status == 200 and r.get("connection").lower() == "close"
        c.expect_close()
    assert not o.last.has("connection")
    assert p.get().status == 200
    assert len(o.conns) == 1, "the client's close does not end the upstream connection"


def test_upstream_close_is_not_passed_on(make):
    o = make.origin(lambda r: reply(200, b"ok", [("Connection", "close")]))
    p = make.proxy(o)
    with p.connect() as c:
        for _ in range(3):
            r = c.get()
            assert r.status == 200 and not r.has("connection")
    assert len(o.conns) == 3


def test_upstream_http10_answer(make):
    def handler(conn):
        conn.request()
        conn.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        conn.wait_closed()
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        for _ in range(2):
            r = c.get()
            assert r.body == b"ok" and r.minor == 1
    assert len(o.conns) == 2


def test_pipelined_answers_come_in_order(make):
    first = threading.Event()

    def answer(request):
        if request.target == "/0":
            first.wait(5)
        return reply(200, request.target.encode())
    o = make.origin(answer)
    p = make.proxy(o)
    with p.connect() as c:
        c.send(b"".join(head("GET /%d HTTP/1.1" % i, [("Host", "a")]) for i in range(30)))
        o.wait_requests(1)
        first.set()
        for i in range(30):
            assert c.response().body == b"/%d" % i


def test_pipelining_with_bodies_and_local_replies(make):
    o = make.origin(echo)
    p = make.proxy(clusters={"main": o}, routes=[
        {"match": {"path": "/here"}, "direct_response": {"status": 418, "body": {
            "inline_string": "local"}}},
        {"match": {"prefix": "/"}, "route": {"cluster": "main"}}])
    with p.connect() as c:
        c.send(head("POST /1 HTTP/1.1", [("Host", "a"), ("Content-Length", "3")]) + b"one" +
               head("POST /here HTTP/1.1", [("Host", "a"), ("Content-Length", "4")]) + b"gone" +
               head("POST /2 HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) +
               chunk(b"tw", b"o") +
               head("GET /here HTTP/1.1", [("Host", "a")]) +
               head("POST /3 HTTP/1.1", [("Host", "a"), ("Content-Length", "5"),
                                         ("Connection", "close")]) + b"three" +
               head("GET /never HTTP/1.1", [("Host", "a")]))
        got = [c.response() for _ in range(5)]
        c.expect_close()
    assert [(r.status, r.body) for r in got] == [(200, b"one"), (418, b"local"), (200, b"two"),
                                                 (418, b"local"), (200, b"three")]
    assert [r.target for r in o.requests] == ["/1", "/2", "/3"]


def test_leading_empty_line_is_forgiven_once(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        assert c.get().status == 200
        c.send(b"\r\n")
        assert c.get().status == 200


# ---- interim responses


def test_expect_continue(make):
    """The client sends nothing more until it is told to go on."""
    def handler(conn):
        while True:
            request = conn.request_head()
            if request.has("expect"):
                conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            conn.reader.body(request)
            conn.send(reply(200, request.body))
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        for body in (b"first", b"second"):
            c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Expect", "100-continue"),
                                            ("Content-Length", len(body))]))
            assert c.reader.response_head().status == 100
            c.send(body)
            r = c.response()
            assert r.status == 200 and r.body == body and r.interim == []


def test_expect_continue_chunked(make):
    def handler(conn):
        request = conn.request_head()
        if request.has("expect"):
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.reader.body(request)
        conn.send(reply(200, request.body))
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.send(head("PUT / HTTP/1.1", [("Host", "a"), ("Expect", "100-continue"),
                                       ("Transfer-Encoding", "chunked")]))
        assert c.reader.response_head().status == 100
        c.send(chunk(b"abc"))
        assert c.response().body == b"abc"


def test_expect_continue_with_the_body_at_once(make):
    def handler(conn):
        while True:
            request = conn.request_head()
            if request.has("expect"):
                conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            conn.reader.body(request)
            conn.send(reply(200, request.body))
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Expect", "100-continue"),
                                        ("Content-Length", "3")]) + b"abc")
        r = c.response()
        assert r.status == 200 and r.body == b"abc" and len(r.interim) <= 1
        assert c.request("POST", "/", body=b"def").body == b"def"


def test_expectation_refused_by_a_local_reply(make):
    """Without a 100 the client may skip the body: the connection cannot go on in doubt."""
    p = make.proxy(clusters={}, routes=[{"match": {"prefix": "/"},
                                         "direct_response": {"status": 403}}])
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Expect", "100-continue"),
                                        ("Content-Length", "1000")]))
        assert c.response().status == 403
        c.expect_close()


@pytest.mark.parametrize("statuses", [[103], [102, 103, 103], [100, 103]])
def test_interim_responses_pass(make, statuses):
    def answer(_):
        return b"".join(head("HTTP/1.1 %d X" % s, [("Link", "</a.css>; rel=preload")] if s == 103
                             else []) for s in statuses) + reply(200, b"end")
    o = make.origin(answer)
    p = make.proxy(o)
    with p.connect() as c:
        for _ in range(2):
            r = c.get()
            assert r.status == 200 and r.body == b"end"
            got = [i for i in r.interim if i.status != 100]
            assert [i.status for i in got] == [s for s in statuses if s != 100]
            assert all(i.get("link") == "</a.css>; rel=preload" for i in got if i.status == 103)
    assert len(o.conns) == 1


def test_interim_responses_not_to_http10(make):
    o = make.origin(lambda r: b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + reply(200, b"end"))
    p = make.proxy(o, hcm={"http_protocol_options": {"accept_http_10": True}})
    with p.connect() as c:
        r = c.get(minor=0)
        assert r.status == 200 and r.interim == []


def test_endless_interim_responses_are_bounded(make):
    def handler(conn):
        conn.request()
        while True:
            conn.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
    p = make.proxy(make.origin(handler=handler), route={"timeout": "2s"})
    with p.connect() as c:
        r = c.get(timeout=10)
        assert r.status in (502, 504)


# ---- target forms


def test_absolute_form(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        assert c.get("http://test/abs?q", host="test").status == 200
        assert o.last.target == "/abs?q" and o.last.get("host") == "test"
        assert c.get("http://test", host="test").status == 200
        assert o.last.target == "/"


def test_absolute_form_contradicting_host(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        assert c.get("http://a.test/", host="b.test").status == 400
        c.expect_close()
    assert o.requests == []


def test_asterisk_form(make):
    o = make.origin()
    p = make.proxy(o)
    r = p.request("OPTIONS", "*")
    if r.status == 200 and o.requests:
        assert o.last.target == "*"
        return
    assert r.status == 404, "no route matches *: then it is nobody's"


@pytest.mark.parametrize("start", ["GET * HTTP/1.1", "GET test HTTP/1.1", "CONNECT / HTTP/1.1",
                                   "GET /a#b HTTP/1.1", "GET ftp://x/ HTTP/1.1"])
def test_odd_targets_are_refused(make, start):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        c.send(head(start, [("Host", "test")]))
        r = c.response(start.split()[0])
        assert 400 <= r.status < 500
    assert o.requests == []


# ---- what is stripped


def test_hop_by_hop_fields_are_stripped_both_ways(make):
    o = make.origin(lambda r: reply(200, b"", [("Connection", "X-Down"), ("X-Down", "1"),
                                               ("Keep-Alive", "timeout=5"),
                                               ("Proxy-Connection", "keep-alive"),
                                               ("Upgrade", "h2c"), ("X-Kept", "yes")]))
    p = make.proxy(o)
    r = p.get(headers=[("Connection", "X-Up, keep-alive"), ("X-Up", "1"), ("Keep-Alive", "300"),
                       ("Proxy-Connection", "keep-alive"), ("TE", "gzip"), ("Upgrade", "h2c"),
                       ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"), ("X-Kept", "yes")])
    up = o.last
    for name in ("x-up", "keep-alive", "proxy-connection", "connection", "upgrade",
                 "http2-settings", "te"):
        assert not up.has(name), name
    assert up.get("x-kept") == "yes"
    for name in ("x-down", "keep-alive", "proxy-connection", "upgrade"):
        assert not r.has(name), name
    assert r.get("x-kept") == "yes"


@pytest.mark.parametrize("victim", ["Host", "Content-Length", "Transfer-Encoding", "Authorization",
                                    "X-Forwarded-For", "Cookie"])
def test_connection_cannot_remove_what_matters(make, victim):
    """Either refused, or the field arrives all the same."""
    o = make.origin()
    p = make.proxy(o)
    fields = [("Connection", victim), ("Authorization", "secret"), ("X-Forwarded-For", "10.0.0.1"),
              ("Cookie", "a=b")]
    r = p.request("POST", "/", headers=fields, body=b"body")
    if victim in ("Host", "Content-Length", "Transfer-Encoding"):
        assert r.status == 400 and o.requests == []
    elif r.status == 200:
        assert victim == "Cookie" or o.last.has(victim)
        assert o.last.body == b"body"


def test_repeated_and_empty_fields_keep_their_order(make):
    o = make.origin(lambda r: reply(200, b"", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"),
                                               ("X-Empty", ""), ("X-R", "1"), ("X-R", "2")]))
    p = make.proxy(o)
    r = p.get(headers=[("X-A", "1"), ("X-B", ""), ("X-A", "2"), ("X-A", "")])
    assert o.last.all("x-a") == ["1", "2", ""] and o.last.all("x-b") == [""]
    assert r.all("set-cookie") == ["a=1", "b=2"] and r.all("x-r") == ["1", "2"]
    assert r.all("x-empty") == [""]


def test_obs_text_and_blanks_in_values(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Utf8:  \xc3\xa9\xff \t\r\nX-In: a \t b\r\n\r\n")
        assert c.response().status == 200
    assert b"x-utf8: \xc3\xa9\xff\r\n" in o.received().lower()
    assert o.last.get("x-in") == "a \t b"


# ---- what is added


def test_request_id_is_added_unless_there(make):
    o = make.origin()
    p = make.proxy(o, hcm={"preserve_external_request_id": True})
    p.get()
    first = o.last.get("x-request-id")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first)
    p.get()
    assert o.last.get("x-request-id") != first
    p.get(headers=[("X-Request-Id", "mine-1")])
    assert o.last.get("x-request-id") == "mine-1"


def test_request_id_can_be_off(make):
    o = make.origin()
    p = make.proxy(o, hcm={"generate_request_id": False})
    p.get()
    assert not o.last.has("x-request-id")


def test_request_id_in_the_response(make):
    o = make.origin()
    p = make.proxy(o, hcm={"always_set_request_id_in_response": True})
    r = p.get()
    assert r.get("x-request-id") == o.last.get("x-request-id") is not None


def test_forwarded_for_edge(make):
    o = make.origin()
    p = make.proxy(o, hcm={"use_remote_address": True})
    p.get()
    assert o.last.get("x-forwarded-for") == "127.0.0.1"
    assert o.last.get("x-forwarded-proto") == "http"
    p.get(headers=[("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https")])
    values = [v.strip() for f in o.last.all("x-forwarded-for") for v in f.split(",")]
    assert values == ["198.51.100.7", "127.0.0.1"]
    assert o.last.get("x-forwarded-proto") == "http", "an untrusted client does not decide it"


def test_forwarded_for_inner(make):
    """Behind another proxy the fields are taken as they are."""
    o = make.origin()
    p = make.proxy(o, hcm={"use_remote_address": False})
    p.get(headers=[("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https")])
    assert o.last.get("x-forwarded-for") == "198.51.100.7"
    assert o.last.get("x-forwarded-proto") == "https"


def test_forwarded_proto_with_trusted_hops(make):
    o = make.origin()
    p = make.proxy(o, hcm={"use_remote_address": True, "xff_num_trusted_hops": 1})
    p.get(headers=[("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https")])
    values = [v.strip() for f in o.last.all("x-forwarded-for") for v in f.split(",")]
    assert values == ["198.51.100.7", "127.0.0.1"]
    assert o.last.get("x-forwarded-proto") == "https", "the trusted hop in front decided it"


def test_date_and_server(make):
    o = make.origin(lambda r: reply(200, b"", [("Server", "inner")] + (
        [("Date", "Fri, 20 Nov 2026 20:00:00 GMT")] if r.target == "/dated" else [])))
    p = make.proxy(o)
    r = p.get("/dated")
    assert r.get("date") == "Fri, 20 Nov 2026 20:00:00 GMT", "the origin's date is kept"
    r = p.get("/undated")
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d "
                        r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) 20\d\d "
                        r"[0-2]\d:[0-5]\d:[0-6]\d GMT", r.get("date"))
    assert len(r.all("server")) == 1


def test_server_header_pass_through(make):
    o = make.origin(lambda r: reply(200, b"", [("Server", "inner")]))
    p = make.proxy(o, hcm={"server_header_transformation": "PASS_THROUGH"})
    assert p.get().get("server") == "inner"
    q = make.proxy(o, hcm={"server_name": "named"})
    assert q.get().get("server") == "named"


# ---- answers of its own


def test_no_route(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[{"match": {"prefix": "/only"},
                                                  "route": {"cluster": "main"}}])
    r = p.get("/other")
    assert (r.status, r.body) == (404, b"")
    assert o.requests == []


def test_no_virtual_host(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, vhosts=[{"name": "v", "domains": ["a.test"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": "main"}}]}])
    r = p.get("/", host="b.test")
    assert (r.status, r.body) == (404, b"")


def test_no_endpoint(make):
    p = make.proxy(clusters={"main": {"name": "main", "type": "STATIC", "connect_timeout": "1s",
                                      "load_assignment": {"cluster_name": "main"}}})
    r = p.get()
    assert (r.status, r.body) == (503, b"no healthy upstream")


def test_local_replies_keep_the_connection(make):
    p = make.proxy(clusters={}, routes=[{"match": {"path": "/a"}, "direct_response": {
        "status": 200, "body": {"inline_string": "hello"}}}])
    with p.connect() as c:
        for _ in range(3):
            assert c.get("/a").body == b"hello"
            r = c.get("/b")
            assert (r.status, r.body) == (404, b"")
            r = c.request("HEAD", "/a")
            assert r.status == 200 and r.body == b""


# ---- early answers


def test_answer_before_the_request_is_whole(make):
    """The origin answers and stops reading: the client gets the answer, not an error."""
    def handler(conn):
        conn.request_head()
        conn.send(reply(413, b"too much", [("Connection", "close")]))
        conn.shutdown_write()
        conn.wait_closed(10)
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", 100 << 20)]))
        c.send(b"x" * 200000)
        r = c.response()
        assert (r.status, r.body) == (413, b"too much")


def test_early_answer_then_the_rest_of_the_request(make):
    """Both sides may stay in use when the origin goes on reading."""
    def handler(conn):
        while True:
            request = conn.request_head()
            conn.send(reply(200, b"early"))
            conn.reader.body(request)
    o = make.origin(handler=handler)
    p = make.proxy(o)
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Content-Length", "10")]) + b"12345")
        assert c.response().body == b"early"
        if c.send(b"67890") and not c.readable(0.2):
            assert c.get("/next").body == b"early"
    assert p.get("/other").body == b"early"


def test_full_duplex_streaming(make):
    """Request and response bodies flow at the same time."""
    def handler(conn):
        conn.request_head()
        conn.send(head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]))
        for data, _ in conn.reader.chunked():
            conn.send(chunk() if data is None else chunk(data.upper(), last=False))
    p = make.proxy(make.origin(handler=handler))
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]))
        r = c.reader.response_head()
        pieces = c.reader.chunked()
        for word in (b"one", b"two", b"three"):
            c.send(chunk(word, last=False))
            got = b""
            while len(got) < len(word):
                got += next(pieces)[0]
            assert got == word.upper()
        c.send(chunk())
        assert r.status == 200 and next(pieces) == (None, [])


# ---- addresses


def test_unix_socket_listener_and_upstream(make, tmp_path):
    from harness import config
    from harness.proxy import new_ports
    up, down = str(tmp_path / "up.sock"), str(tmp_path / "down.sock")
    o = make.origin(path=up)
    admin, port = new_ports(2)
    http = config.manager([config.vhost("v", ["*"], [config.to("main")])])
    text = config.dump(config.bootstrap(
        admin, [config.listener("u", config.pipe(down), http),
                config.listener("t", config.address(port), http)],
        [config.cluster("main", up)]))
    p = make.text(text, ports=[port], admin=admin)
    with wire.Client(path=down) as c:
        assert c.get("/over-unix").body == b"ok"
    assert p.get("/over-tcp").body == b"ok"
    assert [r.target for r in o.requests] == ["/over-unix", "/over-tcp"]


def test_ipv6_listener_and_upstream(make):
    from harness import config
    from harness.proxy import new_ports
    try:
        o = make.origin(host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    admin, port = new_ports(2)
    http = config.manager([config.vhost("v", ["*"], [config.to("main")])],
                          {"use_remote_address": True})
    make.text(config.dump(config.bootstrap(
        admin, [config.listener("six", config.address(port, "::1"), http)],
        [config.cluster("main", o)])), ports=[port], admin=admin)
    with wire.Client(port, host="::1") as c:
        assert c.get("/six", host="[::1]:%d" % port).body == b"ok"
    assert o.last.get("x-forwarded-for") == "::1"


def test_several_listeners_and_workers(make):
    o = make.origin()
    p = make.proxy(o, n_listeners=2, concurrency=2)
    for i in range(40):
        assert p.get("/%d" % i, n=i % 2).body == b"ok"
    assert len(o.requests) == 40
