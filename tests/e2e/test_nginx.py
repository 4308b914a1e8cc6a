# SPDX-License-Identifier: AGPL-3.0-or-later
"""Against programs that others wrote: nginx on either side, curl, wrk."""
import gzip
import hashlib
import re
import shutil
import subprocess

import pytest

from harness.peers import pattern, wait_open
from harness.wire import Client, reply

CURL = shutil.which("curl")
WRK = shutil.which("wrk")


def curl(*args, timeout=20):
    return subprocess.run([CURL, "-sS", "--max-time", "15", *args], capture_output=True, timeout=timeout)


def test_static_files(make):
    n = make.nginx(server="location / { }")
    p = make.proxy(n)
    with p.connect() as c:
        for size in (0, 1, 1000, 65536, 1 << 20, 20 << 20):
            data = pattern(size)
            n.write("f%d" % size, data)
            r = c.get("/f%d" % size)
            assert r.status == 200 and hashlib.sha256(r.body).digest() == hashlib.sha256(data).digest()
        assert c.get("/absent").status == 404
        r = c.get("/f1000", headers=[("Range", "bytes=10-19")])
        assert r.status == 206 and r.body == pattern(1000)[10:20]
        etag = c.request("HEAD", "/f1000").get("etag")
        assert c.get("/f1000", headers=[("If-None-Match", etag)]).status == 304
        assert c.get("/f1").body == pattern(1)
    assert p.stat("cluster.main.upstream_cx_total") == 1, "nginx's keep-alive is used"


def test_gzip_chunked_answers(make):
    n = make.nginx(http="gzip on; gzip_types *; gzip_min_length 1;\n", server="location / { }")
    data = b"some text that compresses well " * 5000
    n.write("text", data)
    p = make.proxy(n)
    r = p.get("/text", headers=[("Accept-Encoding", "gzip")])
    assert r.framing == "chunked" and gzip.decompress(r.body) == data


def test_chain_client_proxy_nginx_origin(make):
    o = make.origin(lambda r: reply(200, r.body))
    n = make.nginx(server="location / { proxy_pass http://127.0.0.1:%d; proxy_http_version 1.1; "
                   "proxy_set_header Connection \"\"; client_max_body_size 0; }" % o.port)
    p = make.proxy(n)
    body = pattern(3 << 20)
    with p.connect() as c:
        for _ in range(3):
            assert c.request("POST", "/x", body=body).body == body
    assert o.last.body == body


def test_chain_client_nginx_proxy_origin(make):
    """nginx is the client here."""
    o = make.origin(lambda r: reply(200, r.body))
    p = make.proxy(o, hcm={"use_remote_address": True})
    n = make.nginx(http="upstream m { server 127.0.0.1:%d; keepalive 8; }\n" % p.port,
                   server="location / { proxy_pass http://m; proxy_http_version 1.1; proxy_set_header "
                   "Connection \"\"; client_max_body_size 0; proxy_request_buffering off; }")
    body = pattern(2 << 20)
    with Client(n.port) as c:
        for _ in range(3):
            assert c.request("POST", "/x", body=body).body == body
            assert c.get("/y").status == 200


@pytest.mark.skipif(not CURL, reason="no curl")
def test_curl(make, tmp_path):
    o = make.origin(lambda r: reply(200, r.method.encode() if r.method != "HEAD" else b"", length=True)
                    if r.target != "/echo" else reply(200, r.body))
    p = make.proxy(o)
    url = "http://127.0.0.1:%d" % p.port
    assert curl(url + "/").stdout == b"GET"
    assert curl("-X", "DELETE", url + "/").stdout == b"DELETE"
    assert curl("-I", url + "/").stdout.startswith(b"HTTP/1.1 200 ")
    file = tmp_path / "body"
    file.write_bytes(pattern(5 << 20))
    assert curl("--data-binary", "@%s" % file, url + "/echo").stdout == pattern(5 << 20)
    assert curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@%s" % file,
                url + "/echo").stdout == pattern(5 << 20)
    assert curl("-H", "Expect: 100-continue", "--data-binary", "@%s" % file,
                url + "/echo").stdout == pattern(5 << 20)
    out = curl("-w", "%{num_connects} ", url + "/", url + "/", "-o", "/dev/null", "-o", "/dev/null").stdout
    assert out.split() == [b"1", b"0"], "curl reused its connection"


@pytest.mark.skipif(not WRK, reason="no wrk")
@pytest.mark.parametrize("workers", [1, 2])
def test_wrk_without_an_error(make, workers):
    n = make.nginx()
    p = make.proxy(n, concurrency=workers)
    out = subprocess.run([WRK, "-t1", "-c64", "-d2s", "http://127.0.0.1:%d/" % p.port],
                         capture_output=True, timeout=20, encoding="utf-8").stdout
    done = int(re.search(r"(\d+) requests in", out)[1])
    assert done > 500, out
    assert "Socket errors" not in out and "Non-2xx" not in out, out
    assert p.stat("http.test.downstream_rq_2xx") >= done
    assert p.stat("http.test.downstream_rq_5xx") == 0


@pytest.mark.skipif(not WRK, reason="no wrk")
def test_wrk_with_connection_close(make):
    n = make.nginx()
    p = make.proxy(n)
    out = subprocess.run([WRK, "-t1", "-c16", "-d1s", "-H", "Connection: close",
                          "http://127.0.0.1:%d/" % p.port],
                         capture_output=True, timeout=20, encoding="utf-8").stdout
    assert int(re.search(r"(\d+) requests in", out)[1]) > 200, out
    assert "Non-2xx" not in out and "timeout" not in out.replace("timeout 0", ""), out


def test_nginx_restart_is_survived(make):
    """A graceful upstream restart costs at most single requests."""
    n = make.nginx()
    p = make.proxy(n)
    with p.connect() as c:
        assert c.get().status == 200
        n.process.terminate()
        n.process.wait(5)
        assert c.get().status == 503
        n2 = subprocess.Popen(n.process.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_open(n.port)
            assert c.get().status == 200
        finally:
            n2.terminate()
            n2.wait(5)
