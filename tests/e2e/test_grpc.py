# SPDX-License-Identifier: AGPL-3.0-or-later
"""gRPC semantics that do not depend on the version of HTTP, seen over HTTP/1 with raw peers."""
import json
import time

import pytest

from harness import config
from harness.wire import chunk, head, reply, until

GRPC = [("Content-Type", "application/grpc+proto"), ("TE", "trailers")]
LOG = {"access_log": [{"name": "l", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "log_format": {"json_format": {"path": "%REQ(:PATH)%", "code": "%RESPONSE_CODE%",
                                   "grpc": "%GRPC_STATUS%", "number": "%GRPC_STATUS_NUMBER%",
                                   "details": "%RESPONSE_CODE_DETAILS%"}}}}]}


def log_of(p, path):
    def find():
        return [x for x in map(json.loads, p.stdout.splitlines()) if x["path"] == path]
    return until(find, 10)[0]


def status(r):
    assert r.status == 200 and r.get("content-type") == "application/grpc" and r.body == b"", r
    return int(r.get("grpc-status"))


def test_local_errors_are_grpc_errors(make):
    from harness.ports import free_port
    p = make.proxy(clusters={"dead": free_port()}, hcm=LOG, routes=[
        config.to("dead", "/dead"),
        {"match": {"prefix": "/401"}, "direct_response": {"status": 401, "body": {
            "inline_string": "50% of ünits\n"}}},
        {"match": {"prefix": "/403"}, "direct_response": {"status": 403}},
        {"match": {"prefix": "/429"}, "direct_response": {"status": 429}},
        {"match": {"prefix": "/418"}, "direct_response": {"status": 418}},
        {"match": {"prefix": "/200"}, "direct_response": {"status": 200, "body": {
            "inline_string": "fine"}}},
        {"match": {"prefix": "/grpc", "grpc": {}}, "direct_response": {"status": 404}},
        {"match": {"prefix": "/grpc"}, "direct_response": {"status": 204}},
    ])
    with p.connect() as c:
        r = c.request("POST", "/dead", GRPC, b"x")
        assert status(r) == 14
        assert "remote connection failure" in r.get("grpc-message")
        r = c.request("POST", "/401/x", GRPC, b"x")
        assert status(r) == 16 and r.get("grpc-message") == "50%25 of %C3%BCnits%0A"
        assert status(c.request("POST", "/403", GRPC, b"x")) == 7
        r = c.request("POST", "/404", GRPC, b"x")
        assert status(r) == 12 and not r.has("grpc-message")
        assert status(c.request("POST", "/429", GRPC, b"x")) == 14
        assert status(c.request("POST", "/418", GRPC, b"x")) == 2
        assert c.request("POST", "/200", GRPC, b"x").body == b"fine"
        assert status(c.request("POST", "/grpc/x", GRPC, b"x")) == 12
        assert c.request("POST", "/grpc/x", [("Content-Type", "application/grpc-web")], b"x").status == 204
        # Others see HTTP.
        assert c.request("POST", "/401", [("Content-Type", "application/json")], b"x").status == 401
        assert c.request("GET", "/dead").status == 503
    line = log_of(p, "/401/x")
    assert (line["code"], line["grpc"], line["number"]) == (200, "Unauthenticated", 16)
    assert log_of(p, "/404")["grpc"] == "Unimplemented"
    assert log_of(p, "/200")["details"] == "direct_response"


def test_status_from_trailers_and_heads(make):
    answers = {"/trailers": head("HTTP/1.1 200 OK", [("Content-Type", "application/grpc"),
                                                     ("Transfer-Encoding", "chunked")]) +
               chunk(b"abc", trailers=[("grpc-status", "5"), ("grpc-message", "gone")]),
               "/only": reply(200, b"", [("Content-Type", "application/grpc"), ("grpc-status", "7")]),
               "/http": reply(502, b"")}
    o = make.origin(answer=lambda r: answers[r.target])
    p = make.proxy(o, hcm={**LOG, "http_protocol_options": {"enable_trailers": True}})
    with p.connect() as c:
        r = c.request("POST", "/trailers", GRPC, b"x")
        assert r.body == b"abc" and dict(r.trailers)["grpc-status"] == "5"
        r = c.request("POST", "/only", GRPC, b"x")
        assert r.get("grpc-status") == "7"
        assert c.request("POST", "/http", GRPC, b"x").status == 502, "the upstream's answer is its own"
    assert log_of(p, "/trailers")["grpc"] == "NotFound"
    assert log_of(p, "/only")["grpc"] == "PermissionDenied"
    assert log_of(p, "/http")["grpc"] == "Unavailable"


@pytest.fixture
def silent(make):
    return make.origin(handler=lambda conn: (conn.request_head(), conn.wait_closed(30)))


def asked(p, timeout, target="/s/m", **kw):
    began = time.monotonic()
    headers = GRPC + ([("grpc-timeout", timeout)] if timeout else [])
    r = p.request("POST", target, headers=headers, body=b"x", timeout=20, **kw)
    return r, time.monotonic() - began


def test_the_clients_deadline(make, silent):
    p = make.proxy(silent, route={"timeout": "10s", "max_grpc_timeout": "0s"}, hcm=LOG)
    r, took = asked(p, "300m")
    assert status(r) == 4 and 0.25 < took < 8
    assert "upstream request timeout" in r.get("grpc-message")
    assert silent.last.get("grpc-timeout") == "300m"
    assert silent.last.get("x-envoy-expected-rq-timeout-ms") == "300"
    assert log_of(p, "/s/m")["grpc"] == "DeadlineExceeded"
    assert p.stat("cluster.main.upstream_rq_timeout") == 1


def test_the_routes_cap_and_offset(make, silent):
    p = make.proxy(silent, route={"timeout": "10s", "max_grpc_timeout": "0.3s"})
    r, took = asked(p, "9S")
    assert status(r) == 4 and took < 8
    assert silent.last.get("grpc-timeout") == "300m"
    r, took = asked(p, None)
    assert status(r) == 4 and took < 8
    p2 = make.proxy(silent, route={"max_grpc_timeout": "0s", "grpc_timeout_offset": "9.6s"})
    r, took = asked(p2, "10S")
    assert status(r) == 4 and took < 8
    assert silent.last.get("grpc-timeout") == "400m"


def test_without_max_grpc_timeout_the_routes_timeout_counts(make, silent):
    p = make.proxy(silent, route={"timeout": "0.4s"})
    r, took = asked(p, "9S")
    assert status(r) == 14 and took < 8, "504 is UNAVAILABLE"
    assert silent.last.get("grpc-timeout") == "9S"


def test_a_streaming_request_is_under_the_deadline_from_its_head_on(make, silent):
    p = make.proxy(silent, route={"max_grpc_timeout": "0s"})
    with p.connect() as c:
        c.send(head("POST /s/m HTTP/1.1", [("Host", "x"), ("Transfer-Encoding", "chunked"),
                                           ("grpc-timeout", "300m")] + GRPC) + chunk(b"abc", last=False))
        assert status(c.response(timeout=10)) == 4


@pytest.mark.parametrize("where", ["manager", "route", "header", "off"])
def test_max_stream_duration(make, silent, where):
    hcm = {"common_http_protocol_options": {"max_stream_duration": "0.4s" if where in ("manager", "off")
                                            else "20s"}}
    route = {"route": {"max_stream_duration": {"max_stream_duration": "0.4s"}},
             "header": {"max_stream_duration": {"max_stream_duration": "20s",
                                                "grpc_timeout_header_max": "0.4s"}},
             "off": {"max_stream_duration": {"max_stream_duration": "0s"}, "timeout": "1s"}}
    p = make.proxy(silent, hcm=hcm, route=route.get(where))
    r, took = asked(p, "9S" if where == "header" else None)
    if where == "off":
        assert status(r) == 14 and took >= 0.9
        assert p.stat("http.test.downstream_rq_max_duration_reached") == 0
    else:
        assert status(r) == 4 and took < 8
        assert p.stat("http.test.downstream_rq_max_duration_reached") == 1
