# SPDX-License-Identifier: AGPL-3.0-or-later
"""The admin listener: formats and names as Envoy 1.28 has them (SPEC 1.7)."""
import json
import re
import time

import pytest

from harness import wire
from harness.wire import head, reply

LABELS = r'(?:\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*")*\})?'
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(" + LABELS + r") (\S+)\Z")


@pytest.fixture(scope="module")
def served(make_shared):
    o = make_shared.origin(lambda r: reply(404 if r.target == "/missing" else 200, b"ok"))
    p = make_shared.proxy(o)
    with p.connect() as c:
        for target in ("/", "/", "/missing", "/%00"):
            c.get(target)
    return p


def test_ready(served):
    r = served.admin("/ready")
    assert (r.status, r.body) == (200, b"LIVE\n")
    assert r.get("content-type").startswith("text/plain")


def test_server_info(served):
    info = served.admin_json("/server_info")
    assert info["state"] == "LIVE" and isinstance(info["version"], str) and info["version"]
    assert re.fullmatch(r"\d+s", info["uptime_current_epoch"])
    assert re.fullmatch(r"\d+s", info["uptime_all_epochs"])
    assert "hot_restart_version" in info
    assert info["command_line_options"]["concurrency"] == 1
    assert isinstance(info["node"], dict)


def test_server_info_names_the_node(make):
    p = make.proxy(clusters={}, routes=[], top={"node": {
        "id": "n1", "cluster": "c1", "locality": {"region": "r", "zone": "z"}}})
    node = p.admin_json("/server_info")["node"]
    assert (node["id"], node["cluster"]) == ("n1", "c1")
    assert node["locality"]["region"] == "r"


def test_stats_text(served):
    r = served.admin("/stats")
    assert r.status == 200 and r.get("content-type").startswith("text/plain")
    lines = r.body.decode().splitlines()
    names = []
    for line in lines:
        m = re.fullmatch(r"([^:\s]+): (\d+|No recorded values|\"[^\"]*\"|P0\(.*\) .*)", line)
        assert m, line
        names.append(m[1])
    counters = [n for n, line in zip(names, lines) if re.search(r": \d+$", line)]
    assert counters == sorted(counters), "sorted by name"
    assert len(names) == len(set(names))
    values = served.stats()
    assert values["http.test.downstream_rq_total"] >= 4
    assert values["http.test.downstream_rq_2xx"] == 2
    assert values["http.test.downstream_rq_4xx"] == 2
    assert values["cluster.main.upstream_cx_total"] == 1
    assert values["cluster.main.upstream_rq_2xx"] == 2
    assert values["cluster.main.upstream_rq_4xx"] == 1
    assert values["server.live"] == 1
    assert any(re.fullmatch(r"listener\.127\.0\.0\.1_\d+\.downstream_cx_total", n) for n in names)


def test_stats_histogram_text(served):
    def line():
        found = [x for x in served.admin("/stats").body.decode().splitlines()
                 if x.startswith("http.test.downstream_rq_time: ")]
        assert len(found) == 1
        return found[0]
    assert re.fullmatch(r"http\.test\.downstream_rq_time: (No recorded values|P0\([^)]*\)( P[\d.]+"
                        r"\([^)]*\))+)", line())
    assert "P99(" in wire.until(lambda: "P99(" in line() and line(), 12, "an interval's end")


def test_stats_filter(served):
    body = served.admin("/stats?filter=%5Ecluster%5C.main%5C.upstream_rq_").body.decode()
    assert body and all(x.startswith("cluster.main.upstream_rq_") for x in body.splitlines())
    assert served.admin("/stats?filter=*bad(").status == 400
    assert served.admin("/stats?filter=nothing_has_this_name").body == b""


def test_stats_usedonly(served):
    everything = served.admin("/stats").body.decode().splitlines()
    used = served.admin("/stats?usedonly").body.decode().splitlines()
    assert 0 < len(used) < len(everything)
    assert any(x.startswith("http.test.downstream_rq_total: ") for x in used)
    assert not any(x.startswith("cluster.main.upstream_rq_timeout: ") for x in used)


@pytest.mark.parametrize("kind,has,lacks", [
    ("Counters", "http.test.downstream_rq_total", "http.test.downstream_rq_active"),
    ("Gauges", "http.test.downstream_rq_active", "http.test.downstream_rq_total"),
    ("Histograms", "http.test.downstream_rq_time", "http.test.downstream_rq_total")])
def test_stats_type(served, kind, has, lacks):
    body = served.admin("/stats?type=" + kind).body.decode()
    assert re.search("^%s: " % re.escape(has), body, re.M)
    assert not re.search("^%s: " % re.escape(lacks), body, re.M)


def test_stats_json(served):
    r = served.admin("/stats?format=json")
    assert r.get("content-type").startswith("application/json")
    stats = json.loads(r.body)["stats"]
    plain = {s["name"]: s["value"] for s in stats if "name" in s}
    assert plain["http.test.downstream_rq_2xx"] == 2
    histograms = [s["histograms"] for s in stats if "histograms" in s]
    assert len(histograms) == 1
    assert "supported_quantiles" in histograms[0] or "computed_quantiles" in histograms[0]


def test_stats_unknown_format(served):
    assert served.admin("/stats?format=nonsense").status == 400


@pytest.mark.parametrize("path", ["/stats/prometheus", "/stats?format=prometheus"])
def test_prometheus(served, path):
    r = served.admin(path)
    assert r.status == 200
    assert r.get("content-type").startswith("text/plain")
    types, helped, samples = {}, set(), {}
    for line in r.body.decode().splitlines():
        if not line:
            continue
        if line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
            assert len(line.split(" ", 3)) == 4
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, "one TYPE line a family"
            types[name] = kind
            continue
        m = SAMPLE.fullmatch(line)
        assert m, line
        float(m[3])
        key = (m[1], m[2])
        assert key not in samples, "one sample a series: %s" % line
        samples[key] = float(m[3])
        family = re.sub(r"_(bucket|sum|count)$", "", m[1])
        assert m[1] in types or types.get(family) == "histogram", "TYPE precedes: %s" % line
    assert set(types) == helped
    assert set(types.values()) == {"counter", "gauge", "histogram"}
    label = '{envoy_http_conn_manager_prefix="test"}'
    assert samples[("envoy_http_downstream_rq_total", label)] >= 4
    assert any(n == "envoy_http_downstream_rq_xx" and 'envoy_response_code_class="2"' in ls
               and 'envoy_http_conn_manager_prefix="test"' in ls and v == 2
               for (n, ls), v in samples.items())
    assert samples[("envoy_cluster_upstream_cx_total", '{envoy_cluster_name="main"}')] == 1
    assert ("envoy_cluster_health_check_success", '{envoy_cluster_name="main"}') in samples
    check_histogram(samples, "envoy_http_downstream_rq_time")


def check_histogram(samples, name):
    buckets = []
    for (n, labels), v in samples.items():
        if n == name + "_bucket" and 'envoy_http_conn_manager_prefix="test"' in labels:
            le = re.search(r'le="([^"]+)"', labels)[1]
            buckets.append((float("inf") if le == "+Inf" else float(le), v))
    buckets.sort()
    assert len(buckets) > 5 and buckets[-1][0] == float("inf")
    counts = [v for _, v in buckets]
    assert counts == sorted(counts), "buckets are cumulative"
    count = samples[(name + "_count", '{envoy_http_conn_manager_prefix="test"}')]
    assert counts[-1] == count >= 3
    assert samples[(name + "_sum", '{envoy_http_conn_manager_prefix="test"}')] >= 0


def test_prometheus_usedonly(served):
    all_lines = served.admin("/stats/prometheus").body.count(b"\n")
    assert 0 < served.admin("/stats/prometheus?usedonly").body.count(b"\n") < all_lines


def test_config_dump(served):
    dump = served.admin_json("/config_dump")
    by_type = {c["@type"].rsplit(".", 1)[1]: c for c in dump["configs"]}
    for c in dump["configs"]:
        assert c["@type"].startswith("type.googleapis.com/envoy.admin.v3.")
    assert {"BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump",
            "RoutesConfigDump"} <= set(by_type)
    bootstrap = by_type["BootstrapConfigDump"]
    assert "static_resources" in bootstrap["bootstrap"] and "last_updated" in bootstrap
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", bootstrap["last_updated"])
    clusters = by_type["ClustersConfigDump"]["static_clusters"]
    assert [c["cluster"]["name"] for c in clusters] == ["main"]
    text = json.dumps(by_type["ListenersConfigDump"])
    assert "listener_0" in text and "http_connection_manager" in text
    assert "test_routes" in json.dumps(by_type["RoutesConfigDump"])
    assert served.admin("/config_dump?include_eds").status == 200


def test_unknown_path(served):
    r = served.admin("/nonsense")
    assert r.status == 404
    assert r.body.startswith(b"invalid path. admin commands are:\n")
    for page in (b"/config_dump", b"/ready", b"/server_info", b"/stats", b"/stats/prometheus"):
        assert page in r.body


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_pages_want_get(served, method):
    assert served.admin("/ready", method, body=b"").status in (200, 400, 405)


@pytest.mark.parametrize("path", ["/quitquitquit", "/reset_counters", "/drain_listeners",
                                  "/healthcheck/fail", "/healthcheck/ok"])
def test_changes_want_post(served, path):
    r = served.admin(path)
    if r.status == 404:
        pytest.skip("page not offered")
    assert (r.status, r.body) == (405, b"Method GET not allowed, POST required.")


def test_reset_counters(make):
    p = make.proxy(make.origin())
    p.get()
    r = p.admin("/reset_counters", "POST", body=b"")
    if r.status == 404:
        pytest.skip("page not offered")
    assert (r.status, r.body) == (200, b"OK\n")
    assert p.stat("cluster.main.upstream_rq_total") == 0
    p.get()
    assert p.stat("cluster.main.upstream_rq_total") == 1


def test_quit(make):
    p = make.proxy(make.origin())
    r = p.admin("/quitquitquit", "POST", body=b"")
    if r.status == 404:
        pytest.skip("page not offered")
    assert (r.status, r.body) == (200, b"OK\n")
    assert p.process.wait(10) == 0


def test_healthcheck_fail_and_ok(make):
    p = make.proxy(make.origin())
    r = p.admin("/healthcheck/fail", "POST", body=b"")
    if r.status == 404:
        pytest.skip("page not offered")
    assert r.body == b"OK\n"
    assert p.admin("/ready").status == 503
    assert p.get().status == 200, "traffic goes on"
    assert p.admin("/healthcheck/ok", "POST", body=b"").body == b"OK\n"
    assert p.admin("/ready").status == 200


def test_logging(make):
    p = make.proxy(make.origin())
    r = p.admin("/logging?level=debug", "POST", body=b"")
    if r.status == 404:
        pytest.skip("page not offered")
    assert r.status == 200
    assert p.admin("/logging?level=nonsense", "POST", body=b"").status == 400


def test_admin_keeps_connections_and_pipelines(served):
    with wire.Client(served.admin_port) as c:
        c.send(head("GET /ready HTTP/1.1", [("Host", "localhost")]) * 5)
        for _ in range(5):
            assert c.response().body == b"LIVE\n"


def test_admin_refuses_smuggling(served):
    with wire.Client(served.admin_port) as c:
        c.send(head("GET /ready HTTP/1.1", [("Host", "a"), ("Content-Length", "5"),
                                            ("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n")
        assert c.response().status == 400
        c.expect_close()


def test_admin_is_served_while_workers_are_busy(make):
    """A thousand requests under way do not delay the admin pages."""
    import threading
    gate = threading.Event()
    o = make.origin(lambda r: gate.wait(10) and reply(200, b"ok"))
    p = make.proxy(o, cluster={"circuit_breakers": {"thresholds": [
        {"max_requests": 500, "max_connections": 500}]}})
    clients = [p.connect() for _ in range(100)]
    for c in clients:
        c.ask()
    o.wait_requests(100, 10)
    start = time.monotonic()
    assert p.stat("http.test.downstream_rq_active") == 100
    assert p.stat("cluster.main.upstream_rq_active") == 100
    assert time.monotonic() - start < 2
    gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()
    assert p.wait_stat("http.test.downstream_rq_active", 0) == 0


def test_large_config_dump(make):
    """A page larger than any buffer, read slowly."""
    routes = [{"match": {"prefix": "/svc%d/" % i}, "route": {"cluster": "main"}}
              for i in range(2000)]
    p = make.proxy(clusters={"main": make.origin()}, routes=routes)
    with wire.Client(p.admin_port, rcvbuf=4096) as c:
        c.ask("GET", "/config_dump", host="localhost")
        time.sleep(0.2)
        r = c.response()
    assert r.status == 200
    assert "/svc1999/" in json.dumps(json.loads(r.body))
