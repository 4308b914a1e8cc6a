# SPDX-License-Identifier: AGPL-3.0-or-later
"""gRPC-Web, binary and text, translated by the filter."""
import base64
import os
import struct

import pytest

from harness import config
from harness.wire import chunk, head, reply

FILTERS = {"http_filters": [
    {"name": "grpc_web", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"}},
    config.ROUTER]}
TRAILERS = [("grpc-status", "0"), ("grpc-message", "fine"), ("x-more-bin", "AAEC")]


def message(data, flag=0):
    return struct.pack(">BI", flag, len(data)) + data


def frames(body):
    """[(flag, bytes)]; the body must end with the last one."""
    out = []
    while body:
        flag, n = struct.unpack(">BI", body[:5])
        assert len(body) >= 5 + n
        out.append((flag, body[5:5 + n]))
        body = body[5 + n:]
    return out


def segments(text):
    """Base64 that may be padded at the end of any segment."""
    out = b""
    for i in range(0, len(text), 4):
        out += base64.b64decode(text[i:i + 4], validate=True)
    assert len(text) % 4 == 0
    return out


def web(kind, *extra):
    return [("Content-Type", "application/grpc-web" + kind), ("X-Grpc-Web", "1")] + list(extra)


@pytest.fixture(scope="module")
def pair(make_shared):
    def handler(conn):
        while True:
            r = conn.request()
            if r is None:
                return
            if r.target == "/only":
                conn.send(reply(200, b"", [("Content-Type", "application/grpc"), ("grpc-status", "5")]))
            elif r.target == "/html":
                conn.send(reply(502, b"<p>", [("Content-Type", "text/html")]))
            else:
                conn.send(head("HTTP/1.1 200 OK", [("Content-Type", "application/grpc+proto"),
                                                   ("Transfer-Encoding", "chunked")]) +
                          chunk(r.body[:7], r.body[7:], trailers=TRAILERS))
    o = make_shared.origin(handler=handler)
    return o, make_shared.proxy(o, hcm=FILTERS, concurrency=1)


def trailers_of(frame):
    assert frame[0] == 0x80
    return dict(line.split(b":", 1) for line in frame[1].split(b"\r\n")[:-1])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 3067, 3072, 100000])
@pytest.mark.parametrize("text", [False, True])
def test_round_trip(pair, text, size):
    o, p = pair
    body = message(os.urandom(size))
    sent = base64.b64encode(body) if text else body
    r = p.request("POST", "/s/m", headers=web("-text+proto" if text else "+proto"), body=sent)
    assert r.status == 200 and not r.trailers
    assert r.get("content-type") == ("application/grpc-web-text+proto" if text
                                     else "application/grpc-web+proto")
    assert o.last.body == body
    assert o.last.get("content-type") == "application/grpc+proto" and o.last.get("te") == "trailers"
    got = frames(segments(r.body) if text else r.body)
    assert got[0] == (0, body[5:])
    assert trailers_of(got[-1]) == {b"grpc-status": b"0", b"grpc-message": b"fine", b"x-more-bin": b"AAEC"}


def test_what_the_client_accepts(pair):
    _, p = pair
    body = message(b"abc")
    r = p.request("POST", "/s/m", headers=web("", ("Accept", "application/grpc-web-text")), body=body)
    assert r.get("content-type") == "application/grpc-web-text+proto"
    assert frames(segments(r.body))[0] == (0, b"abc")
    r = p.request("POST", "/s/m", headers=web("-text", ("Accept", "application/grpc-web")),
                  body=base64.b64encode(body))
    assert r.get("content-type") == "application/grpc-web+proto"
    assert frames(r.body)[0] == (0, b"abc")


def test_padding_inside_the_text_and_bytes_one_by_one(pair):
    o, p = pair
    body = message(b"abcd") + message(b"e")
    parts = [body[:4], body[4:9], body[9:]]
    sent = b"".join(base64.b64encode(x) for x in parts)
    with p.connect() as c:
        c.send(head("POST /s/m HTTP/1.1", [("Host", "x"), ("Content-Length", len(sent))] + web("-text")))
        for i in range(len(sent)):
            c.send(sent[i:i + 1])
        r = c.response()
    assert o.last.body == body
    assert [f for f, _ in frames(segments(r.body))] == [0, 0, 0x80]


@pytest.mark.parametrize("sent", [b"AAA", b"AA=A", b"A===", b"====", b"AAAA*AAA", b"AAAA\r\n"])
def test_bad_base64(pair, sent):
    _, p = pair
    r = p.request("POST", "/s/m", headers=web("-text"), body=sent)
    assert (r.status, r.get("grpc-status")) == (200, "13")
    assert "invalid base64" in r.get("grpc-message")
    assert r.get("content-type") == "application/grpc-web-text+proto"


def test_trailers_only_html_and_local_errors(pair):
    _, p = pair
    r = p.request("POST", "/only", headers=web("+proto"), body=message(b""))
    assert (r.status, r.get("grpc-status"), r.body) == (200, "5", b"")
    assert r.get("content-type") == "application/grpc-web+proto"
    r = p.request("POST", "/html", headers=web("+proto"), body=message(b""))
    assert (r.status, r.get("content-type"), r.body) == (502, "text/html", b"<p>")


def test_local_error(make):
    from harness.ports import free_port
    p = make.proxy(free_port(), hcm=FILTERS)
    r = p.request("POST", "/s/m", headers=web("-text"), body=base64.b64encode(message(b"")))
    assert (r.status, r.get("grpc-status"), r.body) == (200, "14", b"")
    assert r.get("content-type") == "application/grpc-web-text+proto"


def test_others_pass_untouched(pair):
    o, p = pair
    for kind in ("application/grpc", "application/grpc-webby", "text/plain"):
        r = p.request("POST", "/s/m", headers=[("Content-Type", kind)], body=b"AAAA====")
        assert r.body == b"AAAA====" and o.last.body == b"AAAA====" and o.last.get("content-type") == kind
        assert r.get("content-type") == "application/grpc+proto"


def test_preflight_is_none_of_its_business(pair):
    o, p = pair
    r = p.request("OPTIONS", "/s/m", headers=[("Origin", "http://a"),
                                              ("Access-Control-Request-Method", "POST")])
    assert o.last.method == "OPTIONS" and r.status == 200
