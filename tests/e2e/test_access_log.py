# SPDX-License-Identifier: AGPL-3.0-or-later
"""The access log: eight keys in the default format, formats of one's own, and never a worker that waits for it."""
import fcntl
import json
import os
import re
import threading
import time

import pytest

from harness.wire import chunk, head, reply, until

KEYS = ["start_time", "method", "path", "response_code", "bytes_sent", "bytes_received", "duration",
        "user_agent"]
STDOUT = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def lines(p, n, path=None):
    """n parsed lines, once they are there."""
    def read():
        text = p.stdout
        if path is not None:
            text = ""
            if os.path.exists(path):
                with open(path, encoding="utf-8") as f:
                    text = f.read()
        whole = [x for x in text.split("\n")[:-1] if x]
        return whole if len(whole) >= n else None
    got = until(read, 5, "%d log lines" % n)
    assert len(got) == n, got
    return got


def test_default_format_of_a_simple_file(make):
    o = make.origin(lambda r: reply(201, b"hello"))
    p = make.march(o)
    before = time.time()
    with p.connect() as c:
        c.request("POST", "/a/b?c=d", body=b"1234567", headers=[("User-Agent", "tester/1.0")])
        c.get("/none")
    first, second = (json.loads(x) for x in lines(p, 2))
    assert list(first) == KEYS, "exactly these, in this order"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["start_time"])
    stamp = time.mktime(time.strptime(first["start_time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert abs(stamp - before) < 5
    assert first["method"] == "POST" and first["path"] == "/a/b?c=d"
    assert first["response_code"] == 201 and type(first["response_code"]) is int
    assert first["bytes_sent"] == 5 and type(first["bytes_sent"]) is int
    assert first["bytes_received"] == 7 and type(first["bytes_received"]) is int
    assert type(first["duration"]) is int and 0 <= first["duration"] < 5000
    assert first["user_agent"] == "tester/1.0"
    assert list(second) == KEYS and second["bytes_received"] == 0
    assert second["user_agent"] in (None, "", "-")


def test_duration_is_the_time_taken(make):
    def answer(_):
        time.sleep(0.3)
        return reply(200, b"ok")
    p = make.march(make.origin(answer))
    p.get()
    assert 290 <= json.loads(lines(p, 1)[0])["duration"] < 2000


def test_values_are_escaped(make):
    """Quotes, backslashes, control and non-UTF-8 bytes of the client cannot break a line."""
    p = make.march(make.origin())
    with p.connect() as c:
        c.send(b"GET /q?a=%22 HTTP/1.1\r\nHost: a\r\nUser-Agent: \"x\\y\"\t{\xff\xc3\xa9}\r\n\r\n")
        assert c.response().status == 200
    got = json.loads(lines(p, 1)[0])
    assert got["user_agent"].startswith('"x\\y"\t{')
    assert got["path"] == "/q?a=%22"


def test_refused_requests_are_logged(make):
    p = make.march(make.origin())
    with p.connect() as c:
        c.send(head("GET /x HTTP/1.1", [("Host", "a"), ("Content-Length", "1"),
                                        ("Transfer-Encoding", "chunked")]))
        assert c.response().status == 400
    p.get("/../x")
    got = [json.loads(x) for x in lines(p, 2)]
    assert [g["response_code"] for g in got] == [400, 400]
    assert all(list(g) == KEYS for g in got)


def test_client_gone_is_logged(make):
    o = make.origin(handler=lambda conn: (conn.request(), conn.wait_closed(10)))
    p = make.march(o)
    c = p.connect()
    c.ask("GET", "/left")
    o.wait_requests(1)
    c.reset()
    got = json.loads(lines(p, 1)[0])
    assert got["path"] == "/left" and got["response_code"] == 0


def test_one_line_per_request_under_load(make):
    p = make.march(make.origin(), concurrency=2)

    def work(k):
        with p.connect() as c:
            for i in range(100):
                c.get("/%d/%d" % (k, i))
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    paths = [json.loads(x)["path"] for x in lines(p, 800)]
    assert sorted(paths) == sorted("/%d/%d" % (k, i) for k in range(8) for i in range(100))


def test_lines_are_not_lost_at_the_end(make):
    p = make.march(make.origin())
    with p.connect() as c:
        for i in range(50):
            c.get("/%d" % i)
    p.stop()
    assert len([x for x in p.stdout.split("\n") if x]) == 50


def envoy_log(fields, kind=STDOUT):
    return {"access_log": [{"name": "log", "typed_config": {"@type": kind, **fields}}]}


def test_bootstrap_without_access_log_logs_nothing(make):
    p = make.proxy(make.origin())
    p.get()
    p.stop()
    assert p.stdout == ""


def test_text_format_to_a_file(make, tmp_path):
    path = str(tmp_path / "access.log")
    fmt = ("%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% "
           "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %REQ(X-NONE)%\n")
    p = make.proxy(make.origin(), hcm=envoy_log(
        {"path": path, "log_format": {"text_format_source": {"inline_string": fmt}}}, FILE))
    p.get("/x?y")
    assert lines(p, 1, path) == ["GET /x?y HTTP/1.1 200 - via_upstream 0 2 main -"]


def test_json_format(make):
    p = make.proxy(make.origin(), hcm=envoy_log({"log_format": {"json_format": {
        "code": "%RESPONSE_CODE%", "both": "%REQ(:METHOD)% %REQ(:AUTHORITY)%",
        "absent": "%REQ(X-NONE)%", "fixed": "text"}}}))
    p.get()
    assert json.loads(lines(p, 1)[0]) == {"code": 200, "both": "GET test", "absent": None,
                                         "fixed": "text"}


@pytest.mark.parametrize("flags,upstream", [("UH", "none"), ("UF", "refused"), ("NR", "route")])
def test_response_flags(make, flags, upstream):
    from harness.ports import free_port
    log = envoy_log({"log_format": {"text_format_source": {"inline_string": "%RESPONSE_FLAGS%\n"}}})
    if upstream == "none":
        p = make.proxy(clusters={"main": {"name": "main", "type": "STATIC",
                                          "load_assignment": {"cluster_name": "main"}}}, hcm=log)
    elif upstream == "refused":
        p = make.proxy(free_port(), hcm=log)
    else:
        p = make.proxy(clusters={}, routes=[], hcm=log)
    p.get()
    assert flags in lines(p, 1)[0].split(",")


def test_stuck_reader_does_not_hold_requests(make):
    """Nobody reads the pipe that takes the log: requests are served, lines are dropped and counted."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    p = make.march(make.origin(), stdout=write_end)
    os.close(write_end)
    start = time.monotonic()
    agent = [("User-Agent", "a" * 4000)]
    with p.connect() as c:
        for i in range(1500):
            assert c.get("/%d" % i, headers=agent, timeout=2).status == 200
    assert time.monotonic() - start < 25
    assert p.get(timeout=2).status == 200
    dropped = [v for k, v in p.stats().items() if k.endswith("access_log.dropped")
               or k.endswith("access_log.lines_dropped")]
    assert dropped and dropped[0] > 0
    drained = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read_end, 65536),
                                                                  b"")], daemon=True)
    drained.start()
    p.stop()
    drained.join(5)
    os.close(read_end)


def test_stuck_reader_does_not_hold_the_stop(make):
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    p = make.march(make.origin(), stdout=write_end)
    os.close(write_end)
    with p.connect() as c:
        for _ in range(100):
            c.get(headers=[("User-Agent", "a" * 4000)])
    p.stop(10)
    os.close(read_end)


def test_log_file_is_opened_again(make, tmp_path):
    import signal
    path = str(tmp_path / "access.log")
    p = make.proxy(make.origin(), hcm=envoy_log(
        {"path": path, "log_format": {"text_format_source": {"inline_string": "%REQ(:PATH)%\n"}}},
        FILE))
    p.get("/before")
    assert lines(p, 1, path) == ["/before"]
    os.rename(path, path + ".1")
    p.signal(signal.SIGUSR1)
    until(lambda: os.path.exists(path), 5, "the new file")
    p.get("/after")
    assert lines(p, 1, path) == ["/after"]


def test_counted_bytes_are_body_bytes(make):
    o = make.origin(lambda r: reply(200, chunk(b"x" * 1000, b"y" * 234),
                                    [("transfer-encoding", "chunked")], length=False))
    p = make.march(o)
    with p.connect() as c:
        c.send(head("POST / HTTP/1.1", [("Host", "a"), ("Transfer-Encoding", "chunked")]) +
               chunk(b"z" * 10, b"z" * 20))
        assert len(c.response().body) == 1234
    got = json.loads(lines(p, 1)[0])
    assert (got["bytes_sent"], got["bytes_received"]) == (1234, 30)
