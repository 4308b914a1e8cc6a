# SPDX-License-Identifier: AGPL-3.0-or-later
"""A third-party gRPC client and server (npm @grpc/grpc-js) through the proxy, HTTP/2 on both sides."""
import json

import pytest

from harness import config
from harness.node import Node, checks, need
from harness.ports import free_port
from harness.wire import until

H2 = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "explicit_http_config": {"http2_protocol_options": {}}}}}
LOG = {"access_log": [{"name": "l", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "log_format": {"json_format": {"path": "%REQ(:PATH)%", "grpc": "%GRPC_STATUS%",
                                   "protocol": "%PROTOCOL%"}}}}]}


@pytest.fixture
def node():
    need("@grpc/grpc-js")
    made = []

    def make(*args):
        made.append(Node(*args))
        return made[-1]
    yield make
    for n in made:
        n.stop()


def grpc_proxy(make, upstream, hcm=None, **route):
    action = {"timeout": "30s", "max_grpc_timeout": "0s", **route}
    return make.proxy(clusters={"main": config.cluster("main", upstream, **H2)}, hcm={**LOG, **(hcm or {})},
                      routes=[config.to("main", **action)])


def once(node, p, *args):
    n = node("grpc.js", "once", "127.0.0.1:%d" % p.ports[0], *args)
    return n.line(30)


@pytest.mark.bounded(120)
def test_all_kinds_of_calls(make, node):
    server = node("grpc.js", "server")
    p = grpc_proxy(make, server.port)
    ran = checks(node("grpc.js", "client", "127.0.0.1:%d" % p.ports[0]), 100)
    assert set(ran) == {"unary", "metadata", "client_stream", "server_stream", "bidi_stream",
                        "many_bidi_streams", "large_messages", "slow_reader", "error_codes",
                        "error_after_data", "unknown_method", "deadlines", "cancellation"}
    p.wait_stat("http.test.downstream_rq_active", 0)
    p.wait_stat("cluster.main.upstream_rq_active", 0)
    lines = [json.loads(x) for x in p.stdout.splitlines() if x.startswith("{")]
    seen = {x["grpc"] for x in lines}
    assert {x["protocol"] for x in lines} == {"HTTP/2"}
    assert seen >= {"OK", "Canceled", "NotFound", "DataLoss", "Unimplemented", "Unauthenticated"}


def test_errors_of_the_proxy(make, node):
    p = grpc_proxy(make, free_port())
    answer = once(node, p, "Unary")
    assert answer["code"] == 14 and "remote connection failure" in answer["details"]
    q = make.proxy(routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 403, "body": {
        "inline_string": "not für you, 100%"}}}], clusters={})
    assert once(node, q, "Unary") == {"code": 7, "details": "not für you, 100%"}
    r = make.proxy(routes=[], clusters={})
    assert once(node, r, "Unary")["code"] == 12


def test_the_routes_cap_ends_a_call_that_has_no_deadline(make, node):
    server = node("grpc.js", "server")
    p = grpc_proxy(make, server.port, max_grpc_timeout="0.5s")
    answer = once(node, p, "Slow")
    assert answer["code"] == 4 and answer["details"] == "upstream request timeout"


def test_retry_on_status(make, node):
    server = node("grpc.js", "server")
    p = grpc_proxy(make, server.port, retry_policy={"retry_on": "unavailable", "num_retries": 2})
    assert once(node, p, "Flaky") == {"code": 0}
    assert p.stat("cluster.main.upstream_rq_retry") == 1
    assert until(lambda: p.stat("cluster.main.upstream_rq_retry_success"), 5) == 1
