# SPDX-License-Identifier: AGPL-3.0-or-later
"""The judge judged: the strict reader refuses what it must, so that the other tests can fail."""
import socket

import pytest

from harness import wire
from harness.origin import Origin


def feed(data):
    left, right = socket.socketpair()
    left.sendall(data)
    left.shutdown(socket.SHUT_WR)
    left.close()
    return wire.Reader(right, 2)


@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 600 X\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    b"",
])
def test_refuses_responses(data):
    with pytest.raises(wire.WireError):
        feed(data).response()


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
])
def test_refuses_requests(data):
    with pytest.raises(wire.WireError):
        feed(data).request()


def test_reads_good_messages():
    r = feed(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
             b"\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n").response()
    assert (r.status, r.body, r.trailers) == (200, b"abcde", [("x-t", "1")])
    assert [i.status for i in r.interim] == [103]
    assert feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").response("HEAD").body == b""
    assert feed(b"HTTP/1.1 200 OK\r\n\r\nrest").response().body == b"rest"
    q = feed(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").request()
    assert (q.method, q.target, q.body) == ("POST", "/x", b"hi")


def test_origin_records_and_reports():
    o = Origin(name="o")
    with wire.Client(o.port) as c:
        assert c.get("/one").body == b"ok"
        assert c.get("/two").get("x-origin") == "o"
    with wire.Client(o.port) as c:
        c.send(b"GET / HTTP/1.1\nHost: a\n\n")
        c.expect_close()
    wire.until(lambda: all(k.ended.is_set() for k in o.conns))
    assert [r.target for r in o.requests] == ["/one", "/two"]
    assert len(o.conns) == 2 and len(o.errors()) == 1
    assert b"GET /one HTTP/1.1\r\n" in o.received()
    o.stop()
    with pytest.raises(OSError):
        wire.Client(o.port)
