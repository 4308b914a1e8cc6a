# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stock filters in the program: auth, license, metrics. Their decisions in detail are tested with the
vectors of tests/data/filters; here it is the examples of the requirements, tokens of foreign
implementations, configuration, order, rotation under load, and bounds."""
import base64
import json
import os
import re
import subprocess
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwt as jose_jwt

from harness import config, wire
from harness.proxy import new_ports, run_once
from harness.wire import reply

DATA = os.path.join(os.path.dirname(__file__), "..", "data", "filters")
SECRET = "a secret of the tests, which nobody else has to know; HS512 wants 64 bytes of it"
ENTERPRISE = {"license_key": "PENG-1234-5678-90AB-CDEF-WXYZ", "is_enterprise": True}
TYPE = "type.googleapis.com/marchproxy.filters.v1."
EVERY_FILTER = {"auth": {"jwt_secret": SECRET}, "license": ENTERPRISE, "metrics": {}}


def keys():
    with open(os.path.join(DATA, "keys.json"), encoding="utf-8") as f:
        return json.load(f)


def claims(**more):
    return {"sub": "alice", "exp": int(time.time()) + 300, **more}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(secret=SECRET, **more):
    return jwt.encode(claims(**more), secret, algorithm="HS256")


def bearer(token):
    return [("Authorization", "Bearer " + token)]


def march(make, filters, **kw):
    o = make.origin(lambda r: reply(200, b"hello"))
    return make.march(o, fields={"filters": filters, "access_log": "off"}, **kw), o


def entry(name, conf=None, **fields):
    kind = {"auth": "Auth", "license": "License", "metrics": "Metrics"}[name]
    return {"name": name, "typed_config": {"@type": TYPE + kind, **(conf or {})}, **fields}


# ---- the examples of the requirements


def test_auth_as_printed(make):
    p, o = march(make, {"auth": {"jwt_secret": "your-secret-key", "jwt_algorithm": "HS256",
                                 "require_auth": True, "base64_tokens": ["token1", "token2"],
                                 "exempt_paths": ["/healthz", "/metrics", "/ready"]}})
    r = p.get("/api/test")
    assert r.status == 401 and r.body == b'{"error":"Missing Authorization header"}'
    assert r.get("content-type") == "application/json" and r.get("www-authenticate") == "Bearer"
    assert p.get("/api/test", headers=bearer(hs256("your-secret-key"))).status == 200
    assert o.last.get("x-auth-method") == "jwt" and o.last.get("x-auth-subject") == "alice"
    assert p.get("/api/test", headers=bearer("token2")).status == 200
    assert o.last.get("x-auth-method") == "base64" and not o.last.has("x-auth-subject")
    r = p.get("/api/test", headers=bearer("token3"))
    assert r.status == 403 and r.body == b'{"error":"Invalid authentication token"}'
    r = p.get("/api/test", headers=[("Authorization", "Basic eDp5")])
    assert r.status == 401
    assert r.body == b'{"error":"Invalid Authorization header format. Use: Bearer <token>"}'
    for path in ("/healthz", "/metrics", "/ready"):
        assert p.get(path).status == 200
    shown = [line for line in p.admin("/stats").body.decode().splitlines() if "marchproxy_auth" in line]
    assert "marchproxy_auth_requests_total: 8" in shown
    assert "marchproxy_auth_allowed_total.jwt: 1" in shown
    assert "marchproxy_auth_denied_total.missing: 1" in shown
    assert "marchproxy_auth_exempt_total: 3" in shown


def test_license_as_printed(make):
    """The example sends no token, so it is about a proxy that asks for none."""
    path = "/api/v1/multi-cloud"
    p, _ = march(make, {"auth": {"require_auth": False}, "license": {}})
    r = p.get(path)
    assert r.status == 402 and r.get("x-license-required") == "enterprise"
    assert json.loads(r.body) == {"error": "Enterprise license required for feature: multi_cloud",
                                  "upgrade_url": "https://marchproxy.penguintech.io/pricing"}
    assert p.get("/api/test").status == 200
    q, o = march(make, {"auth": {"require_auth": False},
                        "license": {**ENTERPRISE, "features": {"multi_cloud": True}, "max_proxies": 100,
                                    "current_proxies": 5}})
    r = q.get(path)
    assert r.status == 200
    assert r.get("x-license-edition") == "enterprise" and r.get("x-marchproxy-edition") == "enterprise"
    assert r.get("x-license-key") == "PENG-****-****-****-****-WXYZ" == o.last.get("x-license-key")
    assert o.last.get("x-license-edition") == "enterprise"
    assert p.stat("marchproxy_license_denied_total.multi_cloud") == 1
    assert p.stat("marchproxy_license_edition.community") == 1
    assert q.stat("marchproxy_license_edition.enterprise") == 1
    assert q.stat("marchproxy_license_max_proxies") == 100
    assert q.stat("marchproxy_license_current_proxies") == 5


def test_metrics_as_printed(make):
    p, _ = march(make, {"metrics": {}})
    with p.connect() as c:
        c.get("/api/test")
        c.request("POST", "/api/test", body=b"12345")
    text = p.admin("/stats").body.decode()
    shown = [line for line in text.splitlines() if "marchproxy_requests" in line]
    for line in ("marchproxy_requests_total: 2", "marchproxy_requests_by_method_get: 1",
                 "marchproxy_requests_by_method_post: 1", "marchproxy_requests_by_path_api: 2",
                 "marchproxy_requests_by_host.test: 2"):
        assert line in shown
    prom = p.admin("/stats/prometheus").body.decode().splitlines()
    for line in ("marchproxy_requests_total 2", "marchproxy_requests_by_path_api 2",
                 'marchproxy_requests_by_host{host="test"} 2', "marchproxy_responses_by_status_200 2",
                 "marchproxy_responses_by_class_2xx 2", "marchproxy_responses_total 2",
                 "marchproxy_request_duration_ms_count 2", 'marchproxy_request_duration_ms_bucket{le="0.5"} 0',
                 'marchproxy_request_duration_ms_bucket{le="3600000"} 2', "marchproxy_request_size_bytes_sum 5",
                 'marchproxy_request_size_bytes_bucket{le="100"} 1',
                 'marchproxy_request_size_bytes_bucket{le="10000000"} 1', "marchproxy_response_size_bytes_count 2",
                 'marchproxy_bandwidth_bytes_total{direction="received"} 5',
                 'marchproxy_bandwidth_bytes_total{direction="sent"} 10',
                 "# TYPE marchproxy_request_duration_ms histogram", "# TYPE marchproxy_requests_total counter"):
        assert line in prom or line.startswith("marchproxy_request_duration_ms_bucket{le=\"0.5\"}"), line
    bounds = re.findall(r'^marchproxy_request_size_bytes_bucket\{le="([^"]+)"\}', "\n".join(prom), re.M)
    assert bounds == ["100", "1000", "10000", "100000", "1000000", "10000000", "+Inf"]


# ---- tokens of others


def jose_tool(payload, key, header, folder):
    for name, what in (("p", payload), ("k", key)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(what, f)
    out = subprocess.run(["jose", "jws", "sig", "-I", "p", "-k", "k", "-c", "-s",
                          json.dumps({"protected": header})], cwd=folder, capture_output=True, check=True,
                         timeout=20)
    return out.stdout.decode().strip()


def jwk_of(private):
    n = private.private_numbers()

    def number(v, size=None):
        return b64(v.to_bytes(size or (v.bit_length() + 7) // 8, "big"))
    if isinstance(private, rsa.RSAPrivateKey):
        return {"kty": "RSA", "n": number(n.public_numbers.n), "e": number(n.public_numbers.e), "d": number(n.d),
                "p": number(n.p), "q": number(n.q), "dp": number(n.dmp1), "dq": number(n.dmq1), "qi": number(n.iqmp)}
    size = (private.key_size + 7) // 8
    return {"kty": "EC", "crv": "P-%d" % private.key_size, "x": number(n.public_numbers.x, size),
            "y": number(n.public_numbers.y, size), "d": number(n.private_value, size)}


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "RS256", "ES256", "ES384"])
def test_tokens_of_three_implementations(make, tmp_path, alg):
    if alg.startswith("HS"):
        private, conf = SECRET, {"jwt_secret": SECRET}
        jwk = {"kty": "oct", "k": b64(SECRET.encode())}
    else:
        private = keys()[{"RS256": "rsa", "ES256": "p256", "ES384": "p384"}[alg]]
        key = serialization.load_pem_private_key(private.encode(), None)
        conf = {"jwt_public_key": key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()}
        jwk = jwk_of(key)
    p, o = march(make, {"auth": {"jwt_algorithm": alg, **conf}})
    for token in (jwt.encode(claims(), private, algorithm=alg), jose_jwt.encode(claims(), private, algorithm=alg),
                  jose_tool(claims(), {**jwk, "alg": alg}, {"alg": alg, "typ": "JWT"}, str(tmp_path))):
        for _ in range(2):  # verified, then remembered
            assert p.get("/x", headers=bearer(token)).status == 200
            assert o.last.get("x-auth-subject") == "alice"
        h, payload, s = token.split(".")
        other = b64(json.dumps(claims(sub="admin")).encode())
        assert p.get("/x", headers=bearer(".".join([h, other, s]))).status == 403
        none = b64(b'{"alg":"none"}')
        assert p.get("/x", headers=bearer(".".join([none, payload, s]))).status == 403
    assert p.stat("marchproxy_auth_jwt_cache_hits_total") >= 3


# ---- order and company


def test_order_is_auth_license_metrics_whatever_the_file_says(make):
    filters = {"metrics": {}, "license": {}, "auth": {"jwt_secret": SECRET}}
    p, o = march(make, filters)
    path = "/api/v1/multi-cloud"
    r = p.get(path)
    assert r.status == 401, "auth comes before license"
    assert r.get("x-license-edition") == "community", "license marks the answers of others"
    assert p.get(path, headers=bearer(hs256())).status == 402
    assert p.get("/x", headers=bearer(hs256())).status == 200
    assert p.get("/healthz").status == 200
    names = [f["name"] for f in config_filters(p)]
    assert names[-4:] == ["marchproxy.filters.http.auth", "marchproxy.filters.http.license",
                          "marchproxy.filters.http.metrics", "envoy.filters.http.router"]
    s = p.stats()
    assert s["marchproxy_requests_total"] == 4, "metrics counts what the others refuse"
    assert s["marchproxy_responses_by_status_401"] == s["marchproxy_responses_by_status_402"] == 1
    assert s["marchproxy_responses_by_status_200"] == 2
    assert s["marchproxy_requests_by_path_api"] == 2
    assert s["marchproxy_license_checks_total"] == 2, "an exempt path and an answer of auth are none"
    assert len(o.conns) >= 1


def config_filters(p):
    """http_filters of the first listener as the admin shows them."""
    def find(v):
        if isinstance(v, dict):
            if "http_filters" in v:
                return v["http_filters"]
            v = list(v.values())
        for x in v if isinstance(v, list) else []:
            found = find(x)
            if found:
                return found
        return None
    return find(p.admin_json("/config_dump"))


def test_metrics_sees_every_kind_of_answer(make):
    def origin(request):
        return reply(301, b"", [("location", "/")])
    o = make.origin(origin)
    port = new_ports(1)[0]  # nobody listens
    routes = [{"match": {"prefix": "/direct"}, "direct_response": {"status": 418}}, config.to("gone", "/gone"),
              config.to("main", "/up")]
    p = make.proxy(clusters={"main": o, "gone": port}, routes=routes,
                   hcm={"http_filters": [entry("metrics"), config.ROUTER]})
    for path, status in (("/direct", 418), ("/gone", 503), ("/up", 301), ("/none", 404)):
        assert p.get(path).status == status
    s = p.stats()
    shortest = float(re.match(r"P0\(\S*?,([0-9.e-]+)\)", p.stat("marchproxy_request_duration_ms")).group(1))
    assert 0 < shortest < 1000, "no answer takes no time"
    for status in (418, 503, 301, 404):
        assert s["marchproxy_responses_by_status_%d" % status] == 1
    assert s["marchproxy_requests_total"] == s["marchproxy_responses_total"] == 4
    assert p.get("/direct").status == 418


def test_what_cannot_be_read_is_counted(make):
    """Refused before there is a method, a path or a host; after one of each, and again."""
    p, _ = march(make, {**EVERY_FILTER, "metrics": {}})
    for text, status in ((b"nonsense\r\n\r\n", 400), (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", 401),
                         (b"GET /a HTTP/1.1\r\n\r\n", 400), (b"\x00\x16\r\n\r\n", 400),
                         (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 70000 + b"\r\n\r\n", 431),
                         (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", None)):
        with p.connect() as c:
            c.send(text)
            assert c.response().status in ((status,) if status else (400, 401)), text[:40]
    s = p.stats()
    assert s["marchproxy_responses_total"] == s["marchproxy_requests_total"] == 6
    assert s["marchproxy_responses_by_status_400"] >= 3 and s["marchproxy_responses_by_status_431"] == 1
    assert s["marchproxy_requests_by_host.none"] >= 2 and s["marchproxy_requests_by_method_other"] >= 2


def test_a_tunnel_needs_a_token_too(make):
    """WebSocket: refused before the service hears of it; open, it is counted when it ends."""
    def echo(conn):
        conn.request_head()
        conn.send(wire.head("HTTP/1.1 101 Switching Protocols", [("Connection", "upgrade"), ("Upgrade", "websocket")]))
        while data := conn.sock.recv(65536):
            conn.send(data)
    o = make.origin(handler=echo)
    p = make.proxy(o, hcm={"upgrade_configs": [{"upgrade_type": "websocket"}], "http_filters": [
        entry("auth", {"jwt_secret": SECRET}), entry("license"), entry("metrics"), config.ROUTER]})
    ask = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    assert p.get("/chat", headers=ask).status == 401
    assert p.get("/chat", headers=ask + bearer("nobody")).status == 403
    assert p.get("/api/v1/tracing", headers=ask + bearer(hs256())).status == 402
    assert not o.conns
    with p.connect() as c:
        c.ask("GET", "/chat", ask + bearer(hs256()))
        r = c.reader.response_head()
        assert r.status == 101 and r.get("x-license-edition") == "community"
        assert o.last.get("x-auth-subject") == "alice"
        c.send(b"ping")
        assert c.reader.exactly(4) == b"ping"
    p.wait_stat("marchproxy_bandwidth_bytes_total.sent", lambda v: v >= 4)
    s = p.stats()
    assert s["marchproxy_requests_total"] == 4 and s["marchproxy_responses_by_status_101"] == 1


def test_a_client_that_goes_away_is_counted(make):
    started = threading.Event()

    def handler(conn):
        conn.request()
        started.set()
        conn.request()
    p = make.proxy(make.origin(handler=handler), hcm={"http_filters": [entry("metrics"), config.ROUTER]})
    with p.connect() as c:
        c.ask("GET", "/slow")
        assert started.wait(5)
        c.reset()
    p.wait_stat("marchproxy_request_duration_ms", lambda v: v != "No recorded values")
    assert p.stat("marchproxy_requests_total") == 1 and p.stat("marchproxy_responses_total") == 0


# ---- fields from outside


def test_own_fields_cannot_be_forged(make):
    p, o = march(make, EVERY_FILTER)
    forged = [("X-Auth-Subject", "root"), ("x-auth-role", "admin"), ("X_Auth_Subject", "root"),
              ("X-License-Edition", "enterprise"), ("x-license-key", "PENG"), ("X-MarchProxy-Edition", "x")]
    assert p.get("/x", headers=forged + bearer(hs256())).status == 200
    assert o.last.all("x-auth-subject") == ["alice"] and o.last.all("x-auth-method") == ["jwt"]
    assert o.last.all("x-license-key") == ["PENG-****-****-****-****-WXYZ"]
    for name in ("x-auth-role", "x_auth_subject", "x-marchproxy-edition"):
        assert not o.last.has(name)
    assert p.get("/healthz", headers=forged).status == 200
    assert not o.last.has("x-auth-subject") and not o.last.has("x-auth-role")


def test_own_fields_cannot_be_named_away(make):
    """A client may say in Connection which of its fields go no further than us. Those that we add do."""
    p, o = march(make, {"auth": {"jwt_secret": SECRET, "jwt_claim_headers": {"email": "x-auth-email"}}, "license": {}})
    token = bearer(hs256(email="a@b.example"))
    r = p.get("/x", headers=[("Connection", "keep-alive, x-auth-email, x-mine"), ("X-Auth-Email", "root"), ("X-Mine", "1")] + token)
    assert r.status == 200 and o.last.all("x-auth-email") == ["a@b.example"] and not o.last.has("x-mine")
    for name in ("x-auth-subject", "x-auth-method", "x-license-edition", "authorization"):
        r = p.get("/x", headers=[("Connection", "keep-alive, " + name)] + token)
        assert r.status in (200, 400)
        if r.status == 200:
            assert o.last.all("x-auth-subject") == ["alice"] and o.last.all("x-license-edition") == ["community"]


def test_the_service_cannot_forge_the_answer(make):
    o = make.origin(lambda r: reply(200, b"", [("X-License-Key", "PENG-SECR-ETSE-CRET-SECR-ETXX"),
                                                ("x-marchproxy-edition", "enterprise")]))
    p = make.march(o, fields={"filters": {"license": {}}, "access_log": "off"})
    r = p.get("/")
    assert r.all("x-license-key") == ["COMMUNITY"] and r.all("x-marchproxy-edition") == ["community"]


PATHS = ["/healthz/../admin", "/healthz/%2e%2e/admin", "/healthz/..%2fadmin", "/healthz/..;/admin", "/healthzX",
         "/healthz%2f..%2fadmin", "/healthz/%252e%252e/admin", "/x/../admin", "//healthz/../admin"]


@pytest.mark.parametrize("normalize", [True, False])
def test_exempt_paths_do_not_lead_elsewhere(make, normalize):
    o = make.origin(lambda r: reply(200))
    p = make.proxy(o, hcm={"normalize_path": normalize,
                           "http_filters": [entry("auth", {"jwt_secret": SECRET}), config.ROUTER]})
    for path in PATHS:
        assert p.get(path).status == 401, path
    assert p.get("/healthz").status == 200 and p.get("/healthz/deep?x=/../y").status == 200
    assert p.get("/a/../healthz").status == (200 if normalize else 401)
    assert len(o.conns) > 0


# ---- per virtual host and route


def test_configuration_per_virtual_host_and_route(make):
    o = make.origin(lambda r: reply(200))

    def over(conf):
        return {"auth": {"@type": TYPE + "Auth", **conf}}
    off = {"auth": {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}}
    hosts = [config.vhost("own", ["own.example"], [
        config.to("main", "/open") | {"typed_per_filter_config": over({"require_auth": False})},
        config.to("main", "/off") | {"typed_per_filter_config": off}, config.to("main")],
        typed_per_filter_config=over({"base64_tokens": ["of-the-host"]})),
        config.vhost("all", ["*"], [config.to("main")])]
    p = make.proxy(clusters={"main": o}, vhosts=hosts,
                   hcm={"http_filters": [entry("auth", {"base64_tokens": ["of-all"]}), entry("metrics"),
                                         config.ROUTER]})

    def status(host, path, token):
        return p.get(path, host=host, headers=bearer(token) if token else []).status
    assert status("x.example", "/", "of-all") == 200 and status("x.example", "/", "of-the-host") == 403
    assert status("own.example", "/", "of-the-host") == 200 and status("own.example", "/", "of-all") == 403
    assert status("own.example", "/open", None) == 200 and status("own.example", "/", None) == 401
    assert status("own.example", "/off", None) == 200
    for path in ("/open", "/off"):  # whoever trusts our fields must be able to, here too
        p.get(path, host="own.example", headers=[("X-Auth-Subject", "root"), ("x_auth_method", "jwt"), ("x-mine", "1")])
        assert o.last.has("x-mine") and not o.last.has("x-auth-subject") and not o.last.has("x_auth_method")
    assert p.stat("marchproxy_auth_requests_total") == 7, "a filter that is off has seen nothing"


def routed(filters, routes):
    """A simple file; routes: prefix -> filters of the route, and hosts."""
    return config.march(1, 2, {"main": (["127.0.0.1"], 3)},
                        [{"name": p, "prefix": p, "cluster_name": "main", **r} for p, r in routes.items()], filters=filters)


def test_filters_of_a_route_in_a_simple_file(make):
    o = make.origin(lambda r: reply(200))
    p = make.march(o, routes=[
        {"name": "a", "prefix": "/off", "cluster_name": "main", "filters": {"auth": "off", "license": False}},
        {"name": "b", "prefix": "/open", "cluster_name": "main", "filters": {"auth": {"require_auth": False}}},
        {"name": "c", "prefix": "/own", "cluster_name": "main", "hosts": ["x.example", "y.example"],
         "filters": {"auth": {"base64_tokens": ["of-the-route"]}}},
        {"name": "d", "prefix": "/", "cluster_name": "main", "hosts": ["*", "x.example"]}],
        fields={"filters": {"auth": {"base64_tokens": ["of-all"]}, "license": {}}, "access_log": "off"})

    def get(path, token=None, host="z.example"):
        return p.get(path, host=host, headers=(bearer(token) if token else []) + [("x-auth-subject", "root")])
    r = get("/off")
    assert r.status == 200 and not r.has("x-license-edition") and not o.last.has("x-auth-subject")
    r = get("/open")
    assert r.status == 200 and r.get("x-license-edition") == "community"
    assert get("/").status == 401 and get("/", "of-all").status == 200 and get("/", "of-the-route").status == 403
    assert get("/own", "of-all").status == 200, "another host"
    for host in ("x.example", "y.example"):
        assert get("/own", "of-the-route", host).status == 200 and get("/own", "of-all", host).status == 403
    assert get("/", "of-all", "x.example").status == 200


@pytest.mark.parametrize("filters,path,cause", [
    ({"auth": {"jwt_algorithm": "HS1"}}, 'routes[0].filters["auth"].jwt_algorithm', "is not supported"),
    ({"auth": {"jwt_secrt": "x"}}, 'routes[0].filters["auth"].jwt_secrt', "jwt_secret"),
    ({"auth": True}, 'routes[0].filters["auth"]', "or off"), ({"auth": "on"}, 'routes[0].filters["auth"]', "or off"),
    ({"auth": []}, 'routes[0].filters["auth"]', "or off"), ({"auth": None}, 'routes[0].filters["auth"]', "or off"),
    ({"metrics": "off"}, 'routes[0].filters["metrics"]', "not in filters:"),
    ({"router": "off"}, 'routes[0].filters["router"]', "not supported"), ("off", "routes[0].filters", "")])
def test_malformed_filters_of_a_route(tmp_path, filters, path, cause):
    file = str(tmp_path / "m.yaml")
    with open(file, "w", encoding="utf-8") as f:
        f.write(routed({"auth": {"base64_tokens": ["x"]}}, {"/a": {"filters": filters, "hosts": ["a", "b"]}, "/": {}}))
    code, _, err = run_once("-c", file, "-t")
    assert code == 1 and path in err and cause in err, err
    assert err.count("m.yaml:") == 1, "said once, though two hosts have the route: " + err


# ---- malformed configuration


BAD = [("auth", {"jwt_algorithm": "HS257"}, 'filters["auth"].jwt_algorithm', '"HS257" is not supported'),
       ("auth", {"jwt_secrt": "x"}, 'filters["auth"].jwt_secrt', "jwt_secret"),
       ("auth", {"exempt_paths": ["healthz"]}, 'filters["auth"].exempt_paths[0]', "begins with /"),
       ("auth", {"jwt_algorithm": "RS256", "jwt_public_key": "x"}, 'filters["auth"].jwt_public_key', "PEM"),
       ("license", {"max_proxies": "many"}, 'filters["license"].max_proxies', ""),
       ("license", {"features": {"a": 5}}, 'filters["license"].features', ""),
       ("metrics", {"sample_rate": 2}, 'filters["metrics"].sample_rate', "2 is not a share"),
       ("metrics", {"enable_request_metrics": "no"}, 'filters["metrics"].enable_request_metrics', "")]


@pytest.mark.parametrize("name,conf,path,cause", BAD)
def test_malformed_in_a_simple_file(tmp_path, name, conf, path, cause):
    file = str(tmp_path / "m.yaml")
    with open(file, "w", encoding="utf-8") as f:
        f.write(config.march(1, 2, {"s": (["127.0.0.1"], 3)}, [{"name": "r", "prefix": "/", "cluster_name": "s"}],
                             filters={name: conf}))
    code, _, err = run_once("-c", file, "-t")
    assert code == 1 and path in err and cause in err, err
    assert re.search(r"m\.yaml:\d+: ", err), "it says the line"


@pytest.mark.parametrize("name,conf,path,cause", BAD)
def test_malformed_in_a_bootstrap(tmp_path, name, conf, path, cause):
    file = str(tmp_path / "e.yaml")
    http = config.manager([config.vhost("a", ["*"], [config.to("c")])],
                          {"http_filters": [entry(name, conf), config.ROUTER]})
    with open(file, "w", encoding="utf-8") as f:
        f.write(config.dump(config.bootstrap(1, [config.listener("l", config.address(2), http)],
                                             [config.cluster("c", 3)])))
    code, _, err = run_once("-c", file, "-t")
    assert code == 1 and cause in err, err
    assert "http_filters[0].typed_config" + path[path.index("]") + 1:] in err, err


def test_malformed_reload_changes_nothing(make):
    p, _ = march(make, EVERY_FILTER)
    token = hs256()
    assert p.get("/x", headers=bearer(token)).status == 200
    text = open(p.file, encoding="utf-8").read()
    with open(p.file, "w", encoding="utf-8") as f:
        f.write(text.replace("jwt_secret:", "jwt_algorithm: none\n    jwt_secret:"))
    r = p.admin("/reload", "POST", body=b"")
    assert r.status != 200 and b"jwt_algorithm" in r.body and b"none" in r.body
    assert p.get("/x", headers=bearer(token)).status == 200
    assert p.get("/x").status == 401


# ---- secrets


def test_secrets_are_nowhere_to_be_seen(make):
    conf = {"auth": {"jwt_secret": SECRET, "base64_tokens": ["listed-token-of-a-service"],
                     "jwt_secrets_previous": [{"secret": "the one before, also secret",
                                               "valid_until": "2099-01-01T00:00:00Z"}]},
            "license": ENTERPRISE}
    o = make.origin(lambda r: reply(200))
    p = make.march(o, fields={"filters": conf, "access_log": "stdout"}, args=["--log-level", "trace"])
    token = hs256()
    p.get("/x", headers=bearer(token))
    p.get("/x", headers=bearer("listed-token-of-a-service"))
    p.get("/x", headers=bearer(hs256("another")))
    seen = p.stdout + p.stderr
    for page in ("/config_dump", "/stats", "/stats/prometheus", "/server_info", "/clusters", "/listeners"):
        seen += p.admin(page).body.decode()
    dump = p.admin("/config_dump").body.decode()
    assert dump.count("[redacted]") >= 4
    for secret in (SECRET, "listed-token-of-a-service", "the one before", ENTERPRISE["license_key"], token):
        assert secret not in seen, secret


# ---- rotation


def rotate(p, text, secret, *previous):
    """Puts the secret in its place and says how long it took to be in force."""
    auth = {"jwt_secret": secret,
            "jwt_secrets_previous": [{"secret": s, "valid_until": "2099-01-01T00:00:00Z"} for s in previous]}
    with open(p.file + ".new", "w", encoding="utf-8") as f:
        f.write(text.replace("@AUTH@", json.dumps(auth)))
    os.rename(p.file + ".new", p.file)
    start = time.monotonic()
    assert p.admin("/reload", "POST", body=b"").status == 200
    token = hs256(secret)
    wire.until(lambda: p.get("/x", headers=bearer(token)).status == 200, 5)
    return time.monotonic() - start


def rotating(make, **kw):
    o = make.nginx(**kw) if kw.pop("nginx", False) else make.origin(lambda r: reply(200))
    admin, port = new_ports(2)
    text = config.march(admin, port, {"main": (["127.0.0.1"], o.port)},
                        [{"name": "r", "prefix": "/", "cluster_name": "main"}], access_log="off",
                        filters={"auth": "@AUTH@"})
    text = text.replace("'@AUTH@'", "@AUTH@")
    first = text.replace("@AUTH@", json.dumps({"jwt_secret": "secret number 0"}))
    return make.text(first, ports=[port], admin=admin, concurrency=2), text


def test_rotation_forgets_what_was_remembered(make):
    p, text = rotating(make)
    old = hs256("secret number 0")
    with p.connect() as c:
        for _ in range(3):
            assert c.get("/x", headers=bearer(old)).status == 200
        rotate(p, text, "secret number 1")
        assert c.get("/x", headers=bearer(old)).status == 403
        assert c.get("/x", headers=bearer(hs256("secret number 1"))).status == 200
    assert p.stat("marchproxy_auth_jwt_cache_hits_total") >= 1


def test_requests_in_flight_outlive_a_rotation(make):
    p, text = rotating(make)
    with p.connect() as c:
        c.send(wire.head("POST /x HTTP/1.1", [("Host", "a"), ("Content-Length", "4")] +
                         bearer(hs256("secret number 0"))) + b"ab")
        p.wait_stat("http.ingress_http.downstream_rq_active", 1)
        rotate(p, text, "secret number 1")
        c.send(b"cd")
        assert c.response("POST").status == 200


LUA = """
-- Takes the token from a file, again and again.
function request()
    local f = io.open("%s")
    local token = f:read("*a")
    f:close()
    return wrk.format("GET", "/x", {["Authorization"] = "Bearer " .. token})
end
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d\\n", summary.requests, e.status, e.connect, e.read,
                           e.write, e.timeout))
end
"""


@pytest.mark.bounded(110)
def test_hundred_rotations_under_load(make, tmp_path):
    """The load always has the current secret or a previous one; whoever has none of them is refused. Two
    previous ones count, so that a request may take longer than a rotation on a busy machine."""
    rotations, wait = 100, 90
    p, text = rotating(make)
    file, script = str(tmp_path / "token"), str(tmp_path / "load.lua")

    def publish(secret):
        with open(file + ".new", "w", encoding="utf-8") as f:
            f.write(hs256(secret))
        os.rename(file + ".new", file)
    publish("secret number 0")
    with open(script, "w", encoding="utf-8") as f:
        f.write(LUA % file)
    load = subprocess.Popen(["wrk", "-t1", "-c8", "-d%ds" % wait, "-s", script,
                             "http://127.0.0.1:%d" % p.port], stdout=subprocess.PIPE, text=True)
    took = []
    try:
        for i in range(1, rotations + 1):
            took.append(rotate(p, text, *["secret number %d" % k for k in (i, i - 1, i - 2)]))
            publish("secret number %d" % i)
            with p.connect() as c:
                for k, status in ((i, 200), (i - 1, 200), (i - 2, 200), (i - 3, 403), (i + 1, 403)):
                    got = c.get("/x", headers=bearer(hs256("secret number %d" % k))).status
                    assert got == status, (i, k, got)
    finally:
        load.send_signal(2)
        out = load.communicate(timeout=30)[0]
    counts = [int(x) for x in re.search(r"RESULT (.*)", out).group(1).split()]
    print("requests %d, slowest rotation %.0f ms" % (counts[0], 1000 * max(took)))
    assert counts[0] > 1000
    assert counts[1:] == [0, 0, 0, 0, 0], "status, connect, read, write, timeout: %r" % counts[1:]
    if not p.sanitized():
        assert sorted(took)[len(took) // 2] < 0.1


# ---- bounds


@pytest.mark.bounded(280)
def test_many_paths_and_hosts_stay_bounded(make):
    """A million by MP_E2E_NAMES=1000000."""
    total = int(os.environ.get("MP_E2E_NAMES", "30000"))
    p = make.proxy(routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 204}}],
                   hcm={"http_filters": [entry("metrics"), config.ROUTER]}, concurrency=2)
    batch = 100
    sizes, memory = [], []

    def run(first, count):
        with p.connect(timeout=60) as c:
            for at in range(first, first + count, batch):
                c.send(b"".join(b"GET /path%d/x HTTP/1.1\r\nHost: host%d.example:%d\r\n\r\n" % (i, i, i % 60000 + 1)
                                for i in range(at, at + batch)))
                for _ in range(batch):
                    assert c.response().status == 204

    def load(first, count):
        """From eight connections, so that both workers have some."""
        share = count // 8 // batch * batch
        threads = [threading.Thread(target=run, args=(first + k * share, share)) for k in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        sizes.append(len(p.admin("/stats/prometheus").body))
        memory.append(p.memory_kb())
        return 8 * share
    done = load(0, 8000)
    done += load(done, total - done)
    s = p.stats()
    paths = {n: v for n, v in s.items() if n.startswith("marchproxy_requests_by_path_")}
    hosts = {n: v for n, v in s.items() if n.startswith("marchproxy_requests_by_host.")}
    print("%d names: prometheus %r bytes, memory %r KB" % (done, sizes, memory))
    for table in (paths, hosts):
        assert len(table) == 257
        assert sum(table.values()) == done
    assert paths["marchproxy_requests_by_path_other"] == hosts["marchproxy_requests_by_host.other"] == \
        done - 256
    assert sizes[1] < sizes[0] + 2000 and sizes[1] < 200000
    if not p.sanitized():
        # Unbounded tables would take 20 MB for 30,000 names; the pools of pipelined requests breathe.
        assert memory[1] < memory[0] + 8000


def test_a_token_of_the_largest_size(make):
    with open(os.path.join(DATA, "jwt.json"), encoding="utf-8") as f:
        doc = json.load(f)
    p, _ = march(make, {"auth": {"jwt_secret": keys()["secret"]}})
    for v in doc["vectors"]:
        if v["name"].startswith("size: 8"):
            r = p.get("/x", headers=bearer(v["token"]))
            assert r.status == 403, "signed, but for a time that is long over: 8192 characters and more"
    assert p.stat("marchproxy_auth_denied_total.invalid") == 3
