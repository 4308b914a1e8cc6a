# SPDX-License-Identifier: AGPL-3.0-or-later
"""Virtual hosts, routes, rewrites, header operations, and the path policy: what the router sees is what the
upstream gets."""
import pytest

from harness import config
from harness.wire import head, reply


def named(name):
    """A direct response that tells which route it was."""
    return {"status": 200, "body": {"inline_string": name}}


def direct(match, name):
    return {"match": match, "direct_response": named(name)}


# ---- hosts

HOSTS = {
    "exact": ["a.test", "shop.a.test"],
    "port": ["ported.test:8443"],
    "suffix": ["*.a.test", "*-x.a.test"],
    "longer": ["*.b.a.test"],
    "prefix": ["www.*"],
    "longprefix": ["www.a.*"],
    "ip": ["192.0.2.1", "[2001:db8::1]"],
    "any": ["*"],
}


@pytest.fixture(scope="module")
def by_host(make_shared):
    return make_shared.proxy(clusters={}, vhosts=[
        config.vhost(n, domains, [direct({"prefix": "/"}, n)]) for n, domains in HOSTS.items()])


@pytest.mark.parametrize("host,name", [
    ("a.test", "exact"), ("A.TEST", "exact"), ("a.test:80", "exact"), ("a.test:12345", "exact"),
    ("shop.a.test", "exact"), ("ported.test:8443", "port"), ("ported.test", "any"),
    ("x.a.test", "suffix"), ("X.A.Test:99", "suffix"), ("x.y.a.test", "suffix"),
    ("foo-x.a.test", "suffix"), ("x.b.a.test", "longer"), ("b.a.test", "suffix"),
    ("www.b.example", "prefix"), ("www.a.example", "longprefix"), ("WWW.c", "prefix"),
    ("192.0.2.1", "ip"), ("192.0.2.1:99", "ip"), ("[2001:db8::1]", "ip"),
    ("[2001:DB8::1]:8080", "ip"), ("a.test.evil", "any"), ("xa.test", "any"), ("www", "any"),
    ("other", "any"), ("localhost:1", "any"),
])
def test_host_choice(by_host, host, name):
    r = by_host.get("/", host=host)
    assert (r.status, r.body) == (200, name.encode())


@pytest.mark.parametrize("host", ["a.test:80", "a.test", "other.test:8443"])
def test_strip_any_host_port(make, host):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, hcm={"strip_any_host_port": True}, vhosts=[
        config.vhost(n, HOSTS[n], [config.to("main")]) for n in ("exact", "any")])
    assert p.get("/", host=host).status == 200
    assert o.last.get("host") == host.split(":")[0]


def test_suffix_does_not_match_the_bare_name(by_host):
    """*.a.test needs at least one character before the dot."""
    assert by_host.get("/", host=".a.test").body in (b"any", b"")


# ---- paths

PATHS = [
    ({"path": "/exact"}, "exact"),
    ({"path": "/cased", "case_sensitive": False}, "cased"),
    ({"path_separated_prefix": "/sep"}, "sep"),
    ({"prefix": "/pre/longer"}, "longer"),
    ({"prefix": "/pre"}, "pre"),
    ({"prefix": "/Low", "case_sensitive": False}, "low"),
    ({"prefix": "/h", "headers": [{"name": "x-v", "string_match": {"exact": "2"}}]}, "h2"),
    ({"prefix": "/h", "headers": [{"name": "x-v", "present_match": True}]}, "hp"),
    ({"prefix": "/h"}, "h"),
    ({"prefix": "/q", "query_parameters": [{"name": "a", "string_match": {"exact": "1"}}]}, "q1"),
    ({"prefix": "/q", "query_parameters": [{"name": "a", "present_match": True}]}, "qa"),
    ({"safe_regex": {"regex": "/r/[0-9]+"}}, "regex"),
    ({"prefix": "/pre/longer/still"}, "never"),
]


@pytest.fixture(scope="module")
def by_path(make_shared):
    return make_shared.proxy(clusters={}, routes=[direct(m, n) for m, n in PATHS])


@pytest.mark.parametrize("path,name", [
    ("/exact", "exact"), ("/exact?x=1", "exact"), ("/exact/", None), ("/Exact", None),
    ("/CASED", "cased"), ("/cased", "cased"), ("/cased/", None),
    ("/sep", "sep"), ("/sep?x", "sep"), ("/sep/x", "sep"), ("/separate", None), ("/sep/", "sep"),
    ("/pre", "pre"), ("/prefix", "pre"), ("/pre?x", "pre"), ("/pre/longer", "longer"),
    ("/pre/longer/still", "longer"), ("/pr", None), ("/LOWER", "low"), ("/r/12", "regex"),
    ("/r/12x", None), ("/r/", None), ("/r/5?q=z", "regex"), ("/h", "h"), ("/q", None),
    ("/q?a=1", "q1"), ("/q?a=2", "qa"), ("/q?b=1&a=1", "q1"), ("/q?a", "qa"), ("/q?ab=1", None),
])
def test_path_choice(by_path, path, name):
    r = by_path.get(path)
    assert (r.status, r.body) == ((200, name.encode()) if name else (404, b""))


@pytest.mark.parametrize("value,name", [("2", "h2"), ("1", "hp"), (None, "h")])
def test_header_choice(by_path, value, name):
    r = by_path.get("/h", headers=[] if value is None else [("X-V", value)])
    assert r.body == name.encode()


def test_weighted_clusters(make):
    a, b = make.origin(name="a"), make.origin(name="b")
    p = make.proxy(clusters={"a": a, "b": b}, routes=[
        {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [
            {"name": "a", "weight": 3}, {"name": "b", "weight": 1}]}}}])
    with p.connect() as c:
        for _ in range(400):
            assert c.get().status == 200
    assert len(a.requests) + len(b.requests) == 400
    assert 230 <= len(a.requests) <= 370


# ---- round robin


def test_round_robin_is_strict(make):
    origins = [make.origin(name=str(i)) for i in range(3)]
    p = make.proxy(clusters={"main": origins})
    with p.connect() as c:
        got = [c.get().get("x-origin") for _ in range(12)]
    assert got == got[:3] * 4 and sorted(got[:3]) == ["0", "1", "2"]


def test_weighted_round_robin_is_smooth(make):
    a, b = make.origin(name="a"), make.origin(name="b")
    p = make.proxy(clusters={"main": [
        config.endpoint(a, load_balancing_weight=3), config.endpoint(b, load_balancing_weight=1)]})
    with p.connect() as c:
        got = "".join(c.get().get("x-origin") for _ in range(40))
    assert got.count("a") == 30 and "bb" not in got and "aaaa" not in got[1:-1].replace("aaab", "")


# ---- redirects


@pytest.mark.parametrize("fields,path,status,location", [
    ({"https_redirect": True}, "/a?b=c", 301, "https://test/a?b=c"),
    ({"host_redirect": "new.test"}, "/a?b=c", 301, "http://new.test/a?b=c"),
    ({"path_redirect": "/z"}, "/a?b=c", 301, "http://test/z?b=c"),
    ({"path_redirect": "/z", "strip_query": True}, "/a?b=c", 301, "http://test/z"),
    ({"prefix_rewrite": "/new"}, "/a/x", 301, "http://test/new/x"),
    ({"scheme_redirect": "https", "port_redirect": 8443}, "/a", 301, "https://test:8443/a"),
    ({"host_redirect": "n.test", "response_code": "FOUND"}, "/a", 302, "http://n.test/a"),
    ({"host_redirect": "n.test", "response_code": "SEE_OTHER"}, "/a", 303, "http://n.test/a"),
    ({"host_redirect": "n.test", "response_code": "TEMPORARY_REDIRECT"}, "/a", 307,
     "http://n.test/a"),
    ({"host_redirect": "n.test", "response_code": "PERMANENT_REDIRECT"}, "/a", 308,
     "http://n.test/a"),
])
def test_redirect(make, fields, path, status, location):
    p = make.proxy(clusters={}, routes=[{"match": {"prefix": "/a"}, "redirect": fields}])
    r = p.get(path)
    assert (r.status, r.get("location"), r.body) == (status, location, b"")


def test_redirect_cannot_be_split(make):
    """Bytes of the request that end up in Location stay inside the field."""
    p = make.proxy(clusters={}, routes=[{"match": {"prefix": "/"}, "redirect": {
        "https_redirect": True}}])
    r = p.get("/%0d%0aSet-Cookie:%20a=b")
    assert r.status in (301, 400) and not r.has("set-cookie")


# ---- rewrites


@pytest.mark.parametrize("path,seen", [
    ("/api/x?y=1", "/v2/x?y=1"), ("/api", "/v2"), ("/api?q", "/v2?q"), ("/apis", "/v2s"),
])
def test_prefix_rewrite(make, path, seen):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[config.to("main", "/api", prefix_rewrite="/v2")])
    assert p.get(path).status == 200
    assert o.last.target == seen
    assert o.last.get("x-envoy-original-path") == path


def test_prefix_rewrite_to_root(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[config.to("main", "/api/", prefix_rewrite="/")])
    p.get("/api/x")
    assert o.last.target == "/x"


def test_regex_rewrite(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[config.to("main", regex_rewrite={
        "pattern": {"regex": "^/user/([0-9]+)/(.*)$"}, "substitution": "/\\2/of/\\1"})])
    p.get("/user/12/books?q=1")
    assert o.last.target == "/books/of/12?q=1"


def test_host_rewrite(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[
        config.to("main", host_rewrite_literal="inner.test")])
    p.get("/", host="outer.test")
    assert o.last.get("host") == "inner.test"


def test_auto_host_rewrite(make):
    o = make.origin()
    p = make.proxy(clusters={"main": config.cluster("main", ("localhost", o.port),
                                                    type="STRICT_DNS")},
                   routes=[config.to("main", auto_host_rewrite=True)])
    p.get("/", host="outer.test")
    assert o.last.get("host").split(":")[0] == "localhost"


# ---- header operations


def add(name, value, action="OVERWRITE_IF_EXISTS_OR_ADD"):
    return {"header": {"key": name, "value": value}, "append_action": action}


def test_header_operations_at_all_levels(make):
    o = make.origin(lambda r: reply(200, b"", [("x-secret", "1"), ("x-level", "origin"),
                                               ("x-vsecret", "1"), ("x-tsecret", "1")]))
    p = make.proxy(clusters={"main": o}, vhosts=[config.vhost(
        "v", ["*"], [{"match": {"prefix": "/"}, "route": {"cluster": "main"},
                      "request_headers_to_add": [add("x-route", "r"), add("x-level", "route")],
                      "request_headers_to_remove": ["x-drop-r"],
                      "response_headers_to_add": [add("x-resp-route", "r"),
                                                  add("x-level", "route")],
                      "response_headers_to_remove": ["x-secret"]}],
        request_headers_to_add=[add("x-vhost", "v"), add("x-level", "vhost")],
        request_headers_to_remove=["x-drop-v"],
        response_headers_to_add=[add("x-resp-vhost", "v"), add("x-level", "vhost")],
        response_headers_to_remove=["x-vsecret"])],
        route_config={"request_headers_to_add": [add("x-table", "t"), add("x-level", "table")],
                      "request_headers_to_remove": ["x-drop-t"],
                      "response_headers_to_add": [add("x-resp-table", "t"),
                                                  add("x-level", "table")],
                      "response_headers_to_remove": ["x-tsecret"]})
    r = p.get(headers=[("X-Drop-R", "1"), ("X-Drop-V", "1"), ("X-Drop-T", "1"), ("X-Keep", "1")])
    up = o.last
    assert [up.get("x-route"), up.get("x-vhost"), up.get("x-table")] == ["r", "v", "t"]
    assert up.get("x-level") == "table", "evaluated from route to table: the last one wins"
    assert not any(up.has("x-drop-" + n) for n in "rvt") and up.get("x-keep") == "1"
    assert [r.get("x-resp-" + n) for n in ("route", "vhost", "table")] == ["r", "v", "t"]
    assert r.get("x-level") == "table"
    assert not any(r.has(n) for n in ("x-secret", "x-vsecret", "x-tsecret"))


def test_most_specific_header_mutations_win(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, vhosts=[config.vhost(
        "v", ["*"], [{"match": {"prefix": "/"}, "route": {"cluster": "main"},
                      "request_headers_to_add": [add("x-level", "route")]}],
        request_headers_to_add=[add("x-level", "vhost")])],
        route_config={"most_specific_header_mutations_wins": True,
                      "request_headers_to_add": [add("x-level", "table")]})
    p.get()
    assert o.last.get("x-level") == "route"


@pytest.mark.parametrize("action,there,seen", [
    ("APPEND_IF_EXISTS_OR_ADD", ["a"], ["a", "new"]), ("APPEND_IF_EXISTS_OR_ADD", [], ["new"]),
    ("ADD_IF_ABSENT", ["a"], ["a"]), ("ADD_IF_ABSENT", [], ["new"]),
    ("OVERWRITE_IF_EXISTS_OR_ADD", ["a", "b"], ["new"]), ("OVERWRITE_IF_EXISTS_OR_ADD", [], ["new"]),
])
def test_append_actions(make, action, there, seen):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[{
        **config.to("main"), "request_headers_to_add": [add("x-a", "new", action)]}])
    p.get(headers=[("X-A", v) for v in there])
    got = [v.strip() for f in o.last.all("x-a") for v in f.split(",")]
    assert got == seen


def test_header_values_with_operators(make):
    o = make.origin()
    p = make.proxy(clusters={"main": o}, routes=[{**config.to("main"), "request_headers_to_add": [
        add("x-client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), add("x-copy", "<%REQ(x-in)%>"),
        add("x-percent", "100%%")]}])
    p.get(headers=[("X-In", "value")])
    assert o.last.get("x-client") == "127.0.0.1"
    assert o.last.get("x-copy") == "<value>" and o.last.get("x-percent") == "100%"


def test_header_operations_on_direct_responses(make):
    p = make.proxy(clusters={}, routes=[{**direct({"prefix": "/"}, "x"),
                                         "response_headers_to_add": [add("x-a", "1")]}])
    assert p.get().get("x-a") == "1"


# ---- path policy: sent, what the origin receives (None: refused)

NORMAL = [
    ("/", "/"), ("/a/b", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/b/..", "/a/"),
    ("/a/b/.", "/a/b/"), ("/./a", "/a"), ("/a/b/../../c", "/c"), ("/a/...", "/a/..."),
    ("/.a/..b", "/.a/..b"), ("/%61", "/a"), ("/%7e%2d", "/~-"), ("/%c3%a9", "/%C3%A9"),
    ("/%2e%2e/x", None), ("/a/%2e%2E/b", "/b"), ("/a/%2e/b", "/a/b"), ("/a/.%2e/b", "/b"),
    ("/..", None), ("/../a", None), ("/a/../../b", None), ("/%00", None), ("/a%00b", None),
    ("/%", None), ("/%2", None), ("/%zz", None), ("/%g0", None), ("/a\\b", None),
    ("/a\\..\\b", None), ("/a?b=../c", "/a?b=../c"), ("/a?x=%2e%2e", "/a?x=%2e%2e"),
    ("/a/..?q", "/?q"), ("/a?", "/a?"), ("/a;b=c/d", "/a;b=c/d"), ("/a:@!$&'()*+,=", "/a:@!$&'()*+,="),
    ("/a\"b", None), ("/a<b>", None), ("/a`b", None), ("/a|b^[c]{d}", "/a|b^[c]{d}"),
    ("/%252e%252e/a", "/%252e%252e/a"),
]


@pytest.fixture(scope="module")
def normal(make_shared):
    o = make_shared.origin()
    return o, make_shared.proxy(o, hcm={"normalize_path": True})


@pytest.mark.parametrize("sent,seen", NORMAL, ids=[s for s, _ in NORMAL])
def test_normalised_paths(normal, sent, seen):
    o, p = normal
    before = len(o.requests)
    with p.connect() as c:
        c.send(head("GET %s HTTP/1.1" % sent, [("Host", "a")]))
        r = c.response()
    if seen is None:
        assert r.status == 400 and len(o.requests) == before
    else:
        assert r.status == 200 and o.last.target == seen


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x09, 0x0b, 0x7f, 0x80, 0xff])
def test_raw_bytes_in_the_target(normal, byte):
    o, p = normal
    before = len(o.requests)
    with p.connect() as c:
        c.send(b"GET /a" + bytes([byte]) + b"b HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.response().status == 400
        c.expect_close()
    assert len(o.requests) == before


@pytest.mark.parametrize("sent,merged,kept", [
    ("//", "/", "//"), ("//a", "/a", "//a"), ("/a//b///c", "/a/b/c", "/a//b///c"),
    ("/a//../b", "/a/b", "/a/b"), ("/a//?x//y", "/a/?x//y", "/a//?x//y"),
])
def test_runs_of_slashes(make, sent, merged, kept):
    o = make.origin()
    on = make.proxy(o, hcm={"normalize_path": True, "merge_slashes": True})
    assert on.get(sent).status == 200
    got_merged = o.last.target
    off = make.proxy(o, hcm={"normalize_path": True})
    assert off.get(sent).status == 200
    assert o.last.target == kept
    assert got_merged == merged


@pytest.mark.parametrize("action,sent,status,seen", [
    ("KEEP_UNCHANGED", "/a%2Fb", 200, "/a%2Fb"), ("KEEP_UNCHANGED", "/a%5cb", 200, "/a%5Cb"),
    ("REJECT_REQUEST", "/a%2Fb", 400, None), ("REJECT_REQUEST", "/a%2fb", 400, None),
    ("REJECT_REQUEST", "/a%5Cb", 400, None), ("REJECT_REQUEST", "/a?x=%2F", 200, "/a?x=%2F"),
    ("UNESCAPE_AND_FORWARD", "/a%2Fb", 200, "/a/b"), ("UNESCAPE_AND_FORWARD", "/a%5Cb", 200, "/a/b"),
    ("UNESCAPE_AND_FORWARD", "/a%2F..%2Fb", 200, "/b"),
    ("UNESCAPE_AND_FORWARD", "/a%2F..%2F..%2Fb", 400, None),
    ("UNESCAPE_AND_REDIRECT", "/a%2Fb", 307, None), ("UNESCAPE_AND_REDIRECT", "/ab", 200, "/ab"),
])
def test_escaped_slashes(make, action, sent, status, seen):
    o = make.origin()
    p = make.proxy(o, hcm={"normalize_path": True, "path_with_escaped_slashes_action": action})
    r = p.get(sent)
    assert r.status == status
    if seen is not None:
        assert o.last.target == seen
    else:
        assert o.requests == []
    if status == 307:
        assert r.get("location") == "/a/b" or r.get("location").endswith("://test/a/b")


@pytest.mark.parametrize("sent", ["/public/../admin", "/public/%2e%2e/admin", "/public/.%2E/admin",
                                  "/x/../admin/", "/./admin", "/%61dmin"])
def test_rules_cannot_be_passed_by_spelling(make, sent):
    """A path that the origin would read as /admin is routed as /admin."""
    o = make.origin()
    p = make.proxy(clusters={"main": o}, hcm={"normalize_path": True}, routes=[
        {"match": {"prefix": "/admin"}, "direct_response": {"status": 403}}, config.to("main")])
    assert p.get(sent).status == 403
    assert o.requests == []


def test_not_normalised_is_not_changed(make):
    o = make.origin()
    p = make.proxy(o, hcm={"normalize_path": False})
    for path in ("/a/./b", "/a/../b", "/%61", "/%c3%a9"):
        assert p.get(path).status == 200
        assert o.last.target == path
    assert p.get("/%00").status == 400
