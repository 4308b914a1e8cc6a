# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which requests are logged, further operators, and syslog."""
import re
import socket

import pytest

from harness import config
from harness.wire import reply, until

STDOUT = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
SYSLOG = "type.googleapis.com/marchproxy.config.v1.SyslogAccessLog"


def log(flt=None, text="%REQ(:PATH)%\n"):
    out = {"name": "l", "typed_config": {"@type": STDOUT, "log_format": {"text_format": text}}}
    return {"access_log": [dict(out, **({"filter": flt} if flt else {}))]}


def compare(kind, op, value):
    return {kind: {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": "k"}}}}


def origin(make):
    def answer(r):
        path = r.target if isinstance(r.target, str) else r.target.decode()
        m = re.search(r"/(\d{3})", path)
        return reply(int(m.group(1)) if m else 200, b"")
    return make.origin(answer)


def logged(p, targets, headers=()):
    with p.connect() as c:
        for t in targets:
            c.request("GET", t, headers=list(headers))
        c.request("GET", "/last?599", headers=[("x-last", "1")])
    p.stop()
    return p.stdout.splitlines()


@pytest.mark.parametrize("flt,expected", [
    (compare("status_code_filter", "GE", 404), ["/404", "/500"]),
    (compare("status_code_filter", "LE", 200), ["/200", "/last?599"]),
    (compare("status_code_filter", "EQ", 500), ["/500"]),
    (compare("duration_filter", "GE", 60000), []),
    (compare("duration_filter", "LE", 60000), ["/200", "/404", "/500", "/last?599"]),
    ({"runtime_filter": {"runtime_key": "x", "percent_sampled": {"numerator": 0}}}, []),
    ({"runtime_filter": {"runtime_key": "x", "percent_sampled": {"numerator": 100}}},
     ["/200", "/404", "/500", "/last?599"]),
    ({"and_filter": {"filters": [compare("status_code_filter", "GE", 400),
                                 compare("status_code_filter", "LE", 499)]}}, ["/404"]),
    ({"or_filter": {"filters": [compare("status_code_filter", "EQ", 200),
                                compare("status_code_filter", "EQ", 500)]}},
     ["/200", "/500", "/last?599"]),
    ({"header_filter": {"header": {"name": "x-last", "present_match": True}}}, ["/last?599"]),
    ({"header_filter": {"header": {"name": ":path", "string_match": {"prefix": "/4"}}}}, ["/404"]),
    ({"response_flag_filter": {"flags": ["UF", "DC"]}}, []),
    ({"grpc_status_filter": {"statuses": ["UNKNOWN"], "exclude": False}}, ["/200", "/last?599"]),
])
def test_filters(make, flt, expected):
    p = make.proxy(origin(make), hcm=log(flt))
    lines = logged(p, ["/200", "/404", "/500"])
    if "grpc_status_filter" in flt:
        assert "/404" not in lines
        return
    assert lines == expected


def test_flags(make):
    p = make.proxy(clusters={"main": ("127.0.0.1", 1)},
                   hcm=log({"response_flag_filter": {"flags": ["UF"]}},
                           "%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%\n"))
    assert p.get().status == 503
    p.stop()
    assert p.stdout.split() == ["UF", "UpstreamConnectionFailure"]


def test_a_sample_is_chosen_by_the_request_id(make):
    """The same ids are chosen every time, about as many as asked for."""
    hcm = log({"runtime_filter": {"runtime_key": "x", "percent_sampled": {"numerator": 30}}})
    p = make.proxy(origin(make), hcm={**hcm, "preserve_external_request_id": True})
    for _ in range(2):
        with p.connect() as c:
            for i in range(200):
                c.request("GET", "/%03d?%d" % (200, i), headers=[("x-request-id", "id-%d" % i)])
    p.stop()
    lines = p.stdout.splitlines()
    once = set(lines)
    assert 20 < len(once) < 110
    assert sorted(lines) == sorted(list(once) * 2)


def test_health_checks_are_left_out(make):
    check = {"name": "envoy.filters.http.health_check", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}]}}
    p = make.proxy(origin(make), hcm={"http_filters": [check, config.ROUTER],
                                      **log({"not_health_check_filter": {}})})
    assert logged(p, ["/healthz", "/200"]) == ["/200", "/last?599"]


@pytest.mark.parametrize("flt,words", [
    ({"traceable_filter": {}}, "traceable_filter"),
    ({"extension_filter": {"name": "x"}}, "extension_filter"),
    ({"response_flag_filter": {"flags": ["XX"]}}, "no response flag"),
    ({"and_filter": {"filters": [{"not_health_check_filter": {}}]}}, "filters are missing"),
    ({"status_code_filter": {}}, "comparison is missing"),
    ({"runtime_filter": {"runtime_key": "x"}}, "percent_sampled is missing"),
])
def test_what_is_not_supported_is_refused(make, flt, words):
    p = make.proxy(make.origin())
    q = make.proxy(make.origin(), hcm=log())
    with open(q.file, encoding="utf-8") as f:
        import yaml
        document = yaml.safe_load(f)
    document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0][
        "typed_config"].update(log(flt))
    q.rewrite(document)
    r = q.admin("/reload", "POST")
    assert r.status == 400 and words in r.body.decode(), r.body
    assert p.get().status == 200


OPERATORS = ("%REQ_WITHOUT_QUERY(:PATH)%|%DOWNSTREAM_REMOTE_PORT%|%DOWNSTREAM_DIRECT_REMOTE_PORT%|"
             "%UPSTREAM_REMOTE_ADDRESS%|%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|%UPSTREAM_REMOTE_PORT%|"
             "%RESPONSE_FLAGS_LONG%|%STREAM_ID%|%ACCESS_LOG_TYPE%|%ENVIRONMENT(PATH)%|"
             "%ENVIRONMENT(NO_SUCH_VARIABLE)%|%CONNECTION_TERMINATION_DETAILS%|%RESPONSE_TRAILERS_BYTES%|"
             "%REQUEST_HEADERS_BYTES%|%RESPONSE_HEADERS_BYTES%\n")


def test_operators(make):
    import os
    o = make.origin()
    p = make.proxy(o, hcm=log(text=OPERATORS))
    with p.connect() as c:
        port = c.sock.getsockname()[1]
        c.request("GET", "/a?b=c")
    p.stop()
    v = p.stdout.strip().split("|")
    assert v[:7] == ["/a", str(port), str(port), "127.0.0.1:%d" % o.port, "127.0.0.1", str(o.port), "-"]
    assert len(v[7]) == 36 and v[8] == "DownstreamEnd" and v[9] == os.environ["PATH"]
    assert v[10:13] == ["-", "-", "-"]
    assert int(v[13]) > 60 and int(v[14]) > 20


@pytest.mark.parametrize("op,words", [("%UPSTREAM_WIRE_BYTES_SENT%", "is not supported"),
                                      ("%NO_SUCH%", "unknown operator")])
def test_operators_that_are_refused(make, op, words):
    p = make.march(make.origin())
    p.rewrite({"access_log": {"to": "stdout", "format": op}})
    r = p.admin("/reload", "POST")
    assert r.status == 400 and words in r.body.decode() and op[1:-1] in r.body.decode()


def test_a_simple_file_chooses(make):
    p = make.march(origin(make), fields={"access_log": {
        "to": "stdout", "format": {"path": "%REQ(:PATH)%", "code": "%RESPONSE_CODE%"}, "min_status": 500}})
    assert logged(p, ["/200", "/500"]) == ['{"path":"/500","code":500}']


# -- syslog

LINE = re.compile(rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ (\S+) (\d+) - - (.*)")


def receiver(kind, tmp_path):
    if kind == "udp":
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        return s, "udp:127.0.0.1:%d" % s.getsockname()[1]
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = str(tmp_path / "log")
    s.bind(path)
    return s, "unix:" + path


@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_syslog(make, tmp_path, kind):
    s, address = receiver(kind, tmp_path)
    s.settimeout(10)
    p = make.march(make.origin(), fields={"access_log": "syslog:" + address})
    for i in range(3):
        p.get("/%d" % i)
        m = LINE.fullmatch(s.recv(65536))
        assert m and m.group(1) == b"134" and m.group(2) == b"marchproxy", m
        assert int(m.group(3)) == p.pid and b'"path":"/%d"' % i in m.group(4)
    s.close()


def test_syslog_of_an_envoy_file(make, tmp_path):
    s, address = receiver("unix", tmp_path)
    s.settimeout(10)
    p = make.proxy(make.origin(), hcm={"access_log": [{"name": "s", "typed_config": {
        "@type": SYSLOG, "address": address, "facility": 3, "app_name": "edge",
        "log_format": {"text_format": "%REQ(:PATH)%\n"}}}]})
    p.get("/x")
    m = LINE.fullmatch(s.recv(65536))
    assert m.group(1) == b"30" and m.group(2) == b"edge" and m.group(4) == b"/x"
    s.close()


def test_syslog_that_goes_and_comes_back(make, tmp_path):
    """Requests never wait; lines are counted as lost, and go on when somebody listens again."""
    s, address = receiver("unix", tmp_path)
    p = make.march(make.origin(), fields={"access_log": "syslog:" + address})
    with p.connect() as c:
        for _ in range(300):  # nobody reads: the queue of a Unix socket is short
            assert c.get().status == 200
        s.close()
        p.wait_stat("access_log.dropped", lambda n: n > 0)
        (tmp_path / "log").unlink()
        s, _ = receiver("unix", tmp_path)
        s.settimeout(0.1)

        def heard():
            c.get()
            try:
                return LINE.fullmatch(s.recv(65536))
            except TimeoutError:
                return None
        until(heard, 15)
    s.close()


@pytest.mark.parametrize("address", ["udp:localhost:1", "tcp:127.0.0.1:1", "unix:/nowhere/log"])
def test_syslog_that_cannot_be_is_refused(make, address):
    p = make.march(make.origin())
    p.rewrite({"access_log": "syslog:" + address})
    r = p.admin("/reload", "POST")
    assert r.status == 400 and b"access log" in r.body
