# SPDX-License-Identifier: AGPL-3.0-or-later
"""The two forms of configuration: what is accepted, what is refused and how it is said."""
import json
import re
import time

import pytest
import yaml

from harness import config
from harness.origin import Origin
from harness.ports import free_port
from harness.proxy import run_once

ENVOY = """\
admin:
  address: { socket_address: { address: 127.0.0.1, port_value: 9901 } }
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress_http
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            name: local_route
            virtual_hosts:
            - name: local_service
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route:
                  host_rewrite_literal: www.example.test
                  cluster: service
  clusters:
  - name: service
    type: LOGICAL_DNS
    dns_lookup_family: V4_ONLY
    connect_timeout: 1s
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: { socket_address: { address: localhost, port_value: 80 } }
"""

SIMPLE = """\
services:
- name: web
  hosts: [127.0.0.1]
  port: 8080
  protocol: http
routes:
- name: all
  prefix: /
  cluster_name: web
  hosts: []
"""


def validate(tmp_path, text, *args, name="conf.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    code, out, err = run_once("-c", str(path), *args)
    return code, out + err, str(path)


@pytest.mark.parametrize("flags", [["-t"], ["--mode", "validate"]])
@pytest.mark.parametrize("text", [ENVOY, SIMPLE], ids=["envoy", "simple"])
def test_good_files_pass(tmp_path, flags, text):
    code, said, _ = validate(tmp_path, text, *flags)
    assert code == 0, said


def test_json_form(tmp_path):
    code, said, _ = validate(tmp_path, json.dumps(yaml.safe_load(ENVOY)), "-t", name="conf.json")
    assert code == 0, said
    code, said, _ = validate(tmp_path, json.dumps(yaml.safe_load(SIMPLE)), "-t", name="march.json")
    assert code == 0, said


def test_validate_binds_nothing(tmp_path, make):
    """A file whose ports are in use is still a good file."""
    o = make.origin()
    text = ENVOY.replace("10000", str(o.port)).replace("9901", str(make.origin().port))
    code, said, _ = validate(tmp_path, text, "-t")
    assert code == 0, said


def broken(old, new, base=ENVOY):
    """The text with a replacement, and the number of the last replaced line."""
    at = base.index(old)
    return base.replace(old, new, 1), base[:at].count("\n") + new.count("\n") + 1


HCM_PATH = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
BAD_ENVOY = {
    "unknown field": ("stat_prefix: ingress_http", "stat_prefix: ingress_http\n          nonsense: 1",
                      HCM_PATH + ".nonsense"),
    "wrong type": ("connect_timeout: 1s", "connect_timeout: [1, 2]",
                   "static_resources.clusters[0].connect_timeout"),
    "bad duration": ("connect_timeout: 1s", "connect_timeout: soon",
                     "static_resources.clusters[0].connect_timeout"),
    "bad enum": ("type: LOGICAL_DNS", "type: LOGICAL_DNSX", "static_resources.clusters[0].type"),
    "port too large": ("port_value: 10000 }", "port_value: 70000 }",
                       "static_resources.listeners[0].address.socket_address.port_value"),
    "unknown cluster": ("cluster: service", "cluster: nowhere",
                        "virtual_hosts[0].routes[0].route.cluster"),
    "bad address": ("address: 127.0.0.1, port_value: 10000", "address: not an ip, port_value: 10000",
                    "static_resources.listeners[0].address"),
    "no router": ("http_filters:\n          - name: envoy.filters.http.router\n            typed_config:\n              \"@type\": "
                  "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "http_filters: []",
                  HCM_PATH + ".http_filters"),
    "unknown filter type": ("extensions.filters.http.router.v3.Router",
                            "extensions.filters.http.unheard_of.v3.Thing", "http_filters[0]"),
    "bad domain": ('domains: ["*"]', 'domains: ["a.*.b"]', "virtual_hosts[0].domains"),
    "empty domains": ('domains: ["*"]', "domains: []", "virtual_hosts[0].domains"),
    "two match kinds": ('match: { prefix: "/" }', 'match: { prefix: "/", path: "/x" }',
                        "virtual_hosts[0].routes[0].match"),
    "no match": ('match: { prefix: "/" }', "match: {}", "virtual_hosts[0].routes[0].match"),
    "bad header name": ("host_rewrite_literal: www.example.test",
                        "host_rewrite_literal: \"a b\\r\\n\"", "routes[0].route.host_rewrite_literal"),
}


@pytest.mark.parametrize("name", sorted(BAD_ENVOY))
def test_errors_say_where_and_why(tmp_path, name):
    old, new, path = BAD_ENVOY[name]
    text, line = broken(old, new)
    code, said, file = validate(tmp_path, text, "-t")
    assert code == 1, said
    found = [m for m in re.finditer(re.escape(file) + r":(\d+): (\S+): (.+)", said)]
    assert found, said
    hit = [m for m in found if path in m[2]]
    assert hit, "no message about %s in: %s" % (path, said)
    assert any(abs(int(m[1]) - line) <= 1 for m in hit), (line, said)
    assert all(len(m[3]) > 10 for m in hit)


def test_every_error_is_reported(tmp_path):
    text = (ENVOY.replace("connect_timeout: 1s", "connect_timeout: soon")
            .replace("port_value: 10000", "port_value: 70000")
            .replace("stat_prefix: ingress_http", "stat_prefixx: ingress_http"))
    code, said, _ = validate(tmp_path, text, "-t")
    assert code == 1
    for path in ("connect_timeout", "port_value", "stat_prefixx"):
        assert path in said


@pytest.mark.parametrize("text,word", [
    ("a: [1, 2\nb: }\n", ":"), ("", "empty"), ("- 1\n- 2\n", ""), ("just text\n", ""),
    ("services: 5\n", "services"), ("admin: {\n", ""), ("\ta: 1\n", ""), ("a: 1\na: 2\n", "a"),
    ("x: &a [*a]\n", ""), ("%YAML 9.9\n---\na: 1\n", ""),
])
def test_what_is_no_configuration_is_refused(tmp_path, text, word):
    code, said, file = validate(tmp_path, text, "-t")
    assert code == 1 and file in said and word in said


def test_alias_bomb_is_refused_quickly(tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for i, n in enumerate("bcdefghij"):
        lines.append("%s: &%s [%s]" % (n, n, ", ".join(["*" + "abcdefghij"[i]] * 10)))
    code, said, _ = validate(tmp_path, "\n".join(lines) + "\n", "-t")
    assert code == 1


def test_deep_nesting_is_refused(tmp_path):
    code, _, _ = validate(tmp_path, "a: " + "[" * 20000 + "]" * 20000, "-t")
    assert code == 1


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(bytes(range(256)) * 10)
    code, _, err = run_once("-c", str(path), "-t")
    assert code == 1 and str(path) in err


UNSUPPORTED = {
    "tls": ("filter_chains:\n    - filters:",
            "filter_chains:\n    - transport_socket: { name: envoy.transport_sockets.tls }  # HERE\n"
            "      filters:", "transport_socket"),
    "stats sinks": ("static_resources:\n", "stats_sinks: [{ name: statsd }]  # HERE\n"
                    "static_resources:\n", "stats_sinks"),
    "hedging": ("cluster: service", "hedge_policy: { initial_requests: 2 }  # HERE\n"
                "                  cluster: service", "hedge_policy"),
}


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_unsupported_is_refused_by_name(tmp_path, name):
    old, new, path = UNSUPPORTED[name]
    text = ENVOY.replace(old, new, 1)
    assert text != ENVOY
    line = next(i for i, x in enumerate(text.split("\n"), 1) if "# HERE" in x)
    code, said, file = validate(tmp_path, text, "-t")
    assert code == 1
    assert re.search(re.escape(file) + r":%d: \S*%s" % (line, path), said), said


@pytest.mark.parametrize("name", ["stats sinks", "hedging"])
def test_unsupported_can_be_allowed(tmp_path, name):
    old, new, path = UNSUPPORTED[name]
    code, said, file = validate(tmp_path, ENVOY.replace(old, new, 1), "-t", "--allow-unsupported")
    assert code == 0, said
    assert path in said and file in said, "still a warning that names it"


def test_allowing_does_not_excuse_errors(tmp_path):
    code, said, _ = validate(tmp_path, ENVOY.replace("connect_timeout: 1s", "connect_timeout: x"), "-t",
                             "--allow-unsupported")
    assert code == 1 and "connect_timeout" in said


# ---- the simple file

BAD_SIMPLE = {
    "port zero": ("port: 8080", "port: 0", "services[0].port"),
    "port too large": ("port: 8080", "port: 65536", "services[0].port"),
    "no hosts": ("hosts: [127.0.0.1]", "hosts: []", "services[0].hosts"),
    "unknown protocol": ("protocol: http", "protocol: gopher", "services[0].protocol"),
    "unknown cluster": ("cluster_name: web", "cluster_name: wob", "routes[0].cluster_name"),
    "unknown field": ("port: 8080", "port: 8080\n  colour: red", "services[0].colour"),
    "empty name": ("- name: web", "- name: \"\"", "services[0].name"),
    "bad prefix": ("prefix: /", "prefix: x", "routes[0].prefix"),
}


@pytest.mark.parametrize("name", sorted(BAD_SIMPLE))
def test_errors_in_a_simple_file(tmp_path, name):
    old, new, path = BAD_SIMPLE[name]
    text, line = broken(old, new, SIMPLE)
    code, said, file = validate(tmp_path, text, "-t")
    assert code == 1, said
    m = re.search(re.escape(file) + r":(\d+): (\S*" + re.escape(path) + r"\S*): (.+)", said)
    assert m, said
    assert abs(int(m[1]) - line) <= 1, (line, said)


def test_repeated_service_name(tmp_path):
    text = SIMPLE.replace("routes:", "- name: web\n  hosts: [127.0.0.1]\n  port: 1\n  protocol: http\n"
                          "routes:")
    code, said, _ = validate(tmp_path, text, "-t")
    assert code == 1 and "services[1]" in said


@pytest.mark.parametrize("port", [1, 65535])
def test_port_limits(tmp_path, port):
    code, said, _ = validate(tmp_path, SIMPLE.replace("port: 8080", "port: %d" % port), "-t")
    assert code == 0, said


def test_tls_service_is_accepted(tmp_path):
    text = SIMPLE.replace("protocol: http", "protocol: http\n  tls_enabled: true")
    assert validate(tmp_path, text, "-t")[0] == 0  # that it acts: test_tls.py


# ---- both forms, one behaviour


@pytest.fixture(params=["simple", "envoy"])
def either(request, make):
    a, b = make.origin(name="a"), make.origin(name="b")
    if request.param == "simple":
        p = make.march(services={"a": (["127.0.0.1"], a.port), "b": (["127.0.0.1"], b.port)}, routes=[
            {"name": "api", "prefix": "/api", "cluster_name": "b", "hosts": ["one.test"], "timeout": 1},
            {"name": "one", "prefix": "/", "cluster_name": "a", "hosts": ["one.test"]},
            {"name": "any", "prefix": "/only", "cluster_name": "b", "hosts": []}])
    else:
        p = make.proxy(clusters={"a": a, "b": b}, hcm={
            "use_remote_address": True, "normalize_path": True,
            "http_protocol_options": {"accept_http_10": True}}, vhosts=[
            config.vhost("one", ["one.test"], [
                config.to("b", "/api", timeout="1s"), config.to("a", timeout="30s")]),
            config.vhost("any", ["*"], [config.to("b", "/only", timeout="30s")])])
    return p, a, b


def test_both_forms_route_alike(either):
    p, a, b = either
    table = [("one.test", "/", "a"), ("one.test", "/api/x", "b"), ("one.test:8080", "/api", "b"),
             ("ONE.test", "/zzz", "a"), ("two.test", "/only/x", "b"), ("two.test", "/", None)]
    for host, path, name in table:
        r = p.get(path, host=host)
        if name is None:
            assert (r.status, r.body) == (404, b""), (host, path)
        else:
            assert r.get("x-origin") == name, (host, path)
    assert a.last.get("x-forwarded-for") == "127.0.0.1"
    assert a.last.get("x-forwarded-proto") == "http" and a.last.has("x-request-id")


def test_both_forms_refuse_alike(either):
    p, _, _ = either
    with p.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
               b"\r\n0\r\n\r\n")
        assert c.response().status == 400
    assert p.get("/../x", host="one.test").status == 400
    assert p.get("/", host="one.test", minor=0).status == 200


def test_both_forms_time_out_alike(either):
    p, _, b = either
    b.answer = lambda r: time.sleep(3)
    r = p.get("/api/slow", host="one.test", timeout=5)
    assert (r.status, r.body) == (504, b"upstream request timeout")


def test_simple_file_spreads_over_hosts(make):
    port = free_port()
    a = make.origin(name="a", host="127.0.0.1", port=port)
    b = make.origin(name="b", host="127.0.0.2", port=port)
    p = make.march(services={"main": (["127.0.0.1", "127.0.0.2"], port)})
    with p.connect() as c:
        got = "".join(c.get().get("x-origin") for _ in range(10))
    assert got in ("ab" * 5, "ba" * 5)
    assert len(a.requests) == len(b.requests) == 5


def test_documented_bootstrap_runs_as_it_is(make):
    """The plain-HTTP example in the shape of Envoy's documentation."""
    o = make.origin()
    admin, port = free_port(), free_port()
    text = (ENVOY.replace("9901", str(admin)).replace("10000", str(port))
            .replace("port_value: 80 ", "port_value: %d " % o.port))
    p = make.text(text, ports=[port], admin=admin, name="envoy.yaml")
    assert p.get().status == 200
    assert o.last.get("host") == "www.example.test"
    p.stop()
    assert "GET / HTTP/1.1" in p.stdout, "Envoy's default text format"


def test_taken_port_is_said(make, tmp_path):
    """Without SO_REUSEPORT on the other side the bind fails: a clear message and a failing exit code."""
    o = Origin()
    text = config.dump(config.bootstrap(free_port(), [config.listener(
        "l", config.address(o.port), config.manager([config.vhost("v", ["*"], [])]))], []))
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    code, _, err = run_once("-c", str(path), "--concurrency", "1")
    o.stop()
    assert code != 0 and str(o.port) in err
