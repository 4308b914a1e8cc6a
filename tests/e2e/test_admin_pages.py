# SPDX-License-Identifier: AGPL-3.0-or-later
"""Admin pages: who may use them, and those about clusters, listeners and the process (SPEC AD-6 to AD-10)."""
import json
import threading
import time

import pytest

from harness import config, wire
from harness.wire import head, reply

FORM = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.fixture(scope="module")
def served(make_shared):
    o = make_shared.origin()
    p = make_shared.proxy(o)
    p.get()
    return p


# -- who may

@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9901", "10.0.0.1"])
def test_own_hosts(served, host):
    assert served.admin("/ready", host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
                                  "2130706433", "localhost."])
@pytest.mark.parametrize("target,method", [("/config_dump", "GET"), ("/reset_counters", "POST"),
                                           ("/nonsense", "GET")])
def test_rebound_names_are_refused(served, host, target, method):
    r = served.admin(target, method, body=b"" if method == "POST" else None, host=host)
    assert r.status == 403
    assert host.encode() not in r.body and b"static_resources" not in r.body


def test_an_absolute_target_counts_as_host(served):
    with wire.Client(served.admin_port) as c:
        c.send(head("GET http://evil.example/ready HTTP/1.1", [("Host", "evil.example")]))
        assert c.response().status == 403


def test_http10_without_host(served):
    with wire.Client(served.admin_port) as c:
        c.send(b"GET /ready HTTP/1.0\r\n\r\n")
        assert c.response().body == b"LIVE\n"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost",
                                    "http://127.0.0.1:1"])
def test_foreign_origins_change_nothing(served, origin):
    before = served.stat("http.test.downstream_rq_total")
    r = served.admin("/reset_counters", "POST", body=b"", headers=[("Origin", origin)])
    assert r.status == 403
    assert served.stat("http.test.downstream_rq_total") == before > 0
    assert served.admin("/ready", headers=[("Origin", origin)]).status == 200


def test_own_origin(make):
    p = make.proxy(make.origin())
    host = "127.0.0.1:%d" % p.admin_port
    p.get()
    r = p.admin("/reset_counters", "POST", body=b"", headers=[("Origin", "http://" + host)], host=host)
    assert (r.status, r.body) == (200, b"OK\n")
    assert p.stat("http.test.downstream_rq_total") == 0


def test_names_pass_where_the_listener_is_not_on_loopback(make):
    """Rebinding leads to loopback; elsewhere the operator's own names are used."""
    p = make.text(config.dump({"admin": {"address": config.address("@ADMIN@", "0.0.0.0")}})
                  .replace("'@ADMIN@'", "@ADMIN@"))
    assert p.admin("/ready", host="proxy.example").status == 200


# -- requests

def test_methods(served):
    r = served.admin("/quitquitquit")
    assert (r.status, r.get("allow")) == (405, "POST")
    r = served.admin("/stats", "DELETE")
    assert (r.status, r.get("allow")) == (405, "GET, HEAD")
    assert r.body == b"Method DELETE not allowed, GET required."
    assert served.admin("/quitquitquit", "HEAD").status == 405
    assert served.admin("/ready").status == 200


def test_head(served):
    with wire.Client(served.admin_port) as c:
        c.ask("HEAD", "/ready", host="localhost")
        r = c.response("HEAD")
        assert (r.status, r.get("content-length"), r.body) == (200, "5", b"")
        c.ask("GET", "/ready", host="localhost")
        assert c.response().body == b"LIVE\n"


def test_answers_are_not_for_frames_or_caches(served):
    for target in ("/", "/ready", "/nonsense"):
        r = served.admin(target)
        assert r.get("cache-control") == "no-cache, max-age=0"
        assert r.get("x-content-type-options") == "nosniff"
        assert "frame-ancestors 'none'" in r.get("content-security-policy")


def test_bad_parameters(served):
    assert served.admin("/stats?filter=%zz").status == 400
    assert served.admin("/stats?filter=%00").status == 400
    assert served.admin("/stats?" + "&".join("p%d" % i for i in range(32))).status == 200
    assert served.admin("/stats?" + "&".join("p%d" % i for i in range(33))).status == 400
    assert served.admin("/stats?type=Nonsense").status == 400
    assert served.admin("/stats?histogram_buckets=cumulative").status == 400


def test_form_parameters(make):
    p = make.proxy(make.origin())
    r = p.admin("/logging", "POST", body=b"level=debug", headers=[FORM])
    assert (r.status, r.body) == (200, b"active loggers:\n  marchproxy: debug\n")
    r = p.admin("/logging", "POST", body=b"level=info", headers=[("Content-Type", "text/plain")])
    assert r.body.endswith(b"debug\n"), "a body that is no form has no parameters"


@pytest.mark.parametrize("size,status", [(65535, 200), (65536, 200), (65537, 413)])
def test_body_limit(served, size, status):
    with wire.Client(served.admin_port) as c:
        c.ask("POST", "/logging", body=b"x" * size, host="localhost")
        assert c.response().status == status


@pytest.mark.parametrize("size,status", [(65535, 200), (65537, 413)])
def test_body_limit_chunked(served, size, status):
    with wire.Client(served.admin_port) as c:
        c.send(head("POST /logging HTTP/1.1", [("Host", "localhost"), ("Transfer-Encoding", "chunked")])
               + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\nx: y\r\n\r\n")
        assert c.response().status == status


# -- pages

def test_index_and_help(served):
    r = served.admin("/")
    assert r.get("content-type").startswith("text/html")
    assert b'<form method="post" action="/quitquitquit">' in r.body
    r = served.admin("/help")
    assert r.body.startswith(b"admin commands are:\n  /: ")
    assert b"\n  /quitquitquit (POST): " in r.body


def test_listeners(make):
    p = make.proxy(make.origin(), n_listeners=2)
    lines = p.admin("/listeners").body.decode().splitlines()
    assert lines == ["listener_%d::127.0.0.1:%d" % (i, port) for i, port in enumerate(p.ports)]
    statuses = p.admin_json("/listeners?format=json")["listener_statuses"]
    assert [s["name"] for s in statuses] == ["listener_0", "listener_1"]
    assert statuses[1]["local_address"]["socket_address"] == {"address": "127.0.0.1",
                                                              "port_value": p.ports[1]}
    assert p.admin("/listeners?format=html").status == 400


def test_clusters(make):
    gate = threading.Event()
    o = make.origin(lambda r: gate.wait(10) and reply(200, b"ok"))
    p = make.proxy(clusters={"main": o, "other": [1, 2]}, concurrency=2,
                   routes=[config.to("main")],
                   cluster={"circuit_breakers": {"thresholds": [{"max_requests": 77}]}})
    clients = [p.connect() for _ in range(6)]
    for c in clients:
        c.ask()
    o.wait_requests(6, 10)
    here = "main::127.0.0.1:%d::" % o.port
    lines = p.admin("/clusters").body.decode().splitlines()
    for line in ("main::default_priority::max_requests::77", "main::added_via_api::false",
                 here + "cx_active::6", here + "rq_active::6", here + "health_flags::healthy",
                 here + "weight::1", "other::127.0.0.1:1::cx_active::0"):
        assert line in lines
    assert len(lines) == len(set(lines)), "hosts of two workers are one"
    statuses = p.admin_json("/clusters?format=json")["cluster_statuses"]
    assert [s["name"] for s in statuses] == ["main", "other"]
    host = statuses[0]["host_statuses"][0]
    assert host["address"]["socket_address"]["port_value"] == o.port
    assert {"name": "rq_active", "value": "6", "type": "GAUGE"} in host["stats"]
    assert [h["address"]["socket_address"]["port_value"] for h in statuses[1]["host_statuses"]] == [1, 2]
    wire.until(lambda: p.stat("server.memory_allocated") >= 6 * 1024, 5, "the streams' memory")
    gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()
    assert here + "rq_active::0" in p.admin("/clusters").body.decode().splitlines()


def test_client_leaves_while_workers_are_asked(served):
    for _ in range(50):
        with wire.Client(served.admin_port) as c:
            c.ask("GET", "/clusters", host="localhost")
    assert served.admin("/clusters").status == 200


def test_pipelined_pages_keep_their_order(served):
    targets = ["/clusters", "/ready", "/config_dump?include_eds", "/listeners", "/clusters?format=json"]
    with wire.Client(served.admin_port) as c:
        for t in targets * 3:
            c.send(head("GET %s HTTP/1.1" % t, [("Host", "localhost")]))
        for t in targets * 3:
            body = c.response().body
            assert {"/clusters": b"main::", "/ready": b"LIVE", "/listeners": b"listener_0::"}.get(t, b"{") \
                in body[:20]


def test_config_dump_endpoints(make):
    dns = make.proxy(make.origin(), cluster={"type": "STRICT_DNS"})
    configs = dns.admin_json("/config_dump?include_eds")["configs"]
    eds = [c for c in configs if c["@type"].endswith(".EndpointsConfigDump")]
    assert len(eds) == 1
    assignment = eds[0]["static_endpoint_configs"][0]["endpoint_config"]
    assert assignment["cluster_name"] == "main"
    endpoint = assignment["endpoints"][0]["lb_endpoints"][0]
    assert endpoint["endpoint"]["address"]["socket_address"]["address"] == "127.0.0.1"
    assert endpoint["health_status"] == "HEALTHY"
    types = [c["@type"].rsplit(".", 1)[1] for c in dns.admin_json("/config_dump")["configs"]]
    assert types == ["BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump",
                     "RoutesConfigDump", "SecretsConfigDump"]


def test_config_dump_selection(make):
    p = make.proxy(clusters={"a1": 1, "a2": 2, "b1": 3}, routes=[config.to("a1")])

    def names(query):
        dump = p.admin_json("/config_dump?" + query)
        return [c["cluster"]["name"] for c in dump.get("configs", []) if "cluster" in c]
    assert names("resource=static_clusters") == ["a1", "a2", "b1"]
    assert names("resource=static_clusters&name_regex=a.") == ["a1", "a2"]
    assert names("resource=static_clusters&name_regex=a") == [], "the whole name must match"
    assert p.admin_json("/config_dump?resource=dynamic_active_clusters") == {}
    routes = p.admin_json("/config_dump?resource=static_route_configs")["configs"]
    assert [r["route_config"]["name"] for r in routes] == ["test_routes"]
    assert p.admin("/config_dump?resource=nonsense").status == 404
    assert p.admin("/config_dump?resource=bootstrap").status == 400
    assert p.admin("/config_dump?mask=bootstrap").status == 400
    assert p.admin("/config_dump?name_regex=*").status == 400


def test_memory(served):
    m = served.admin_json("/memory")
    assert int(m["total_physical_bytes"]) > 1 << 20
    assert all(isinstance(m[k], str) for k in ("allocated", "heap_size", "pageheap_free"))


def test_server_gauges(served):
    with served.connect():
        wire.until(lambda: served.stat("server.total_connections") >= 1, 5, "the connection")
    values = served.stats()
    assert values["server.concurrency"] == 1
    assert values["server.state"] == 0
    assert values["server.bugs"] == 0


# -- switches

def test_drain_listeners(make):
    o = make.origin()
    p = make.proxy(o)
    with p.connect() as c:
        assert c.get().status == 200
        r = p.admin("/drain_listeners", "POST", body=b"")
        assert (r.status, r.body) == (200, b"OK\n")
        r = p.admin("/ready")
        assert (r.status, r.body) == (503, b"DRAINING\n")
        assert p.admin_json("/server_info")["state"] == "DRAINING"

    def refused():  # the workers hear of it in their next turn
        try:
            with p.connect() as c:
                c.get()
        except (OSError, wire.WireError):
            return True
        return False

    wire.until(refused, what="closed listeners")
    assert p.admin("/healthcheck/ok", "POST", body=b"").status == 409
    assert p.admin("/ready").status == 503
    assert p.admin("/stats").status == 200, "the admin server stays"
    p.admin("/quitquitquit", "POST", body=b"")
    assert p.process.wait(10) == 0


def test_quit_when_the_client_does_not_read(make):
    p = make.proxy(make.origin())
    with wire.Client(p.admin_port) as c:
        c.send(head("POST /quitquitquit HTTP/1.1", [("Host", "localhost"), ("Content-Length", "0")]))
    assert p.process.wait(10) == 0


def test_large_answer_is_not_kept_by_the_worker(make):
    """Readers that stop in the middle of a large page cost little, and others are served."""
    routes = [{"match": {"prefix": "/svc%d/" % i}, "route": {"cluster": "main"}} for i in range(3000)]
    p = make.proxy(clusters={"main": make.origin()}, routes=routes)
    full = p.admin("/config_dump").body
    assert len(full) > 1 << 20
    slow = [wire.Client(p.admin_port, rcvbuf=4096) for _ in range(5)]
    for c in slow:
        c.ask("GET", "/config_dump", host="localhost")
    time.sleep(0.3)
    start = time.monotonic()
    assert p.admin("/ready").status == 200
    assert time.monotonic() - start < 2
    for c in slow[:3]:
        c.close()
    for c in slow[3:]:
        assert json.loads(c.response().body) == json.loads(full)
        c.close()
