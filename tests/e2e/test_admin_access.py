# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may use the admin server, its second address, its access log, and pages that Envoy has."""
import json
import socket

import pytest

from harness import wire
from harness.proxy import new_ports
from harness.wire import until

FULL, READ = "operator-token-0123456789", "reader-token-0123456789"
POSTS = ["/logging", "/reset_counters", "/healthcheck/fail", "/healthcheck/ok", "/reopen_logs",
         "/drain_listeners", "/quitquitquit", "/reload", "/runtime_modify", "/cpuprofiler"]


@pytest.fixture
def tokens(tmp_path):
    full, read = tmp_path / "full", tmp_path / "read"
    full.write_text("# who may change things\n\n  %s  \nanother-token-0123456789\n" % FULL)
    read.write_text(READ + "\n")
    return {"token_file": str(full), "read_token_file": str(read)}


def ask(p, target, token=None, method="GET", port=None):
    headers = [("Authorization", "Bearer " + token)] if token else []
    with wire.Client(port or p.admin_port, timeout=10) as c:
        return c.request(method, target, headers=headers + [("Connection", "close")],
                         host="127.0.0.1")


def test_tokens(make, tokens):
    p = make.march(make.origin(), fields={"admin_options": tokens})
    for target in ("/stats", "/config_dump", "/", "/nowhere", "/metrics"):
        for wrong in (None, "x" * 25, FULL[:-1], FULL + "x", FULL.upper()):
            r = ask(p, target, wrong)
            assert r.status == 401 and r.get("www-authenticate") == "Bearer", (target, wrong)
        assert ask(p, target, READ).status == (404 if target == "/nowhere" else 200)
    assert ask(p, "/ready").status == 200, "probes have no token"
    for target in POSTS:
        assert ask(p, target, READ, "POST").status == 403
        assert ask(p, target, None, "POST").status == 401
    assert ask(p, "/reset_counters", FULL, "POST").status == 200
    assert ask(p, "/logging?level=debug", "another-token-0123456789", "POST").status == 200
    assert FULL not in ask(p, "/config_dump", FULL).body.decode()


def test_tokens_change_with_a_reload(make, tokens):
    p = make.march(make.origin(), fields={"admin_options": tokens})
    with open(tokens["token_file"], "w", encoding="ascii") as f:
        f.write("a-new-operator-token-1\n")
    assert ask(p, "/reload", FULL, "POST").status == 200
    assert ask(p, "/stats", FULL).status == 401
    assert ask(p, "/stats", "a-new-operator-token-1").status == 200


@pytest.mark.parametrize("text,words", [("short\n", "too short"), ("# none\n", "there is none"),
                                        (None, "No such file")])
def test_bad_token_files_are_refused(make, tmp_path, text, words):
    path = tmp_path / "t"
    if text is not None:
        path.write_text(text)
    p = make.march(make.origin())
    p.rewrite({"admin_options": {"token_file": str(path)}})
    r = p.admin("/reload", "POST")
    assert r.status == 400 and words in r.body.decode()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("target", POSTS)
def test_only_post_changes_anything(pages_proxy, method, target):
    r = pages_proxy.admin(target, method)
    assert r.status == 405 and r.get("allow") == "POST"


@pytest.fixture(scope="module")
def pages_proxy(tmp_path_factory):
    from conftest import Builder
    b = Builder(tmp_path_factory.mktemp("pages"))
    p = b.proxy(b.origin(), top={"layered_runtime": {"layers": [
        {"name": "base", "static_layer": {"overload": {"global_downstream_max_connections": 100}}},
        {"name": "over", "static_layer": {"overload.global_downstream_max_connections": 200}}]}})
    yield p
    b.finish()


def test_runtime(pages_proxy):
    assert pages_proxy.admin_json("/runtime") == {
        "layers": ["base", "over"],
        "entries": {"overload.global_downstream_max_connections": {
            "layer_values": ["100", "200"], "final_value": "200"}}}


def test_what_is_not_there_says_so(pages_proxy):
    r = pages_proxy.admin("/contention")
    assert r.status == 501 and b"not supported" in r.body
    r = pages_proxy.admin("/drain_listeners?inboundonly", "POST")
    assert r.status == 400 and b"inboundonly" in r.body
    assert pages_proxy.admin("/ready").status == 200


def test_memory_and_help(pages_proxy):
    m = pages_proxy.admin_json("/memory")
    assert int(m["allocated"]) >= 0 and int(m["total_physical_bytes"]) > int(1e6)
    text = pages_proxy.admin("/help").body.decode()
    r = pages_proxy.admin("/nowhere")
    assert r.status == 404 and text in r.body.decode()
    assert all("  %s (POST)" % t in text for t in POSTS)
    assert b"<form" in pages_proxy.admin("/").body


def test_the_address_for_metrics(make):
    port = new_ports(1)[0]
    p = make.march(make.origin(), fields={"admin_options": {"metrics_address": "127.0.0.1:%d" % port}})
    assert p.get().status == 200
    assert ask(p, "/ready", port=port).body == b"LIVE\n"
    for target in ("/metrics", "/stats/prometheus"):
        assert b"envoy_http_downstream_rq_total" in ask(p, target, port=port).body
    for target in ("/", "/stats", "/config_dump", "/help", "/clusters"):
        assert ask(p, target, port=port).status == 404
    for target in POSTS:
        assert ask(p, target, method="POST", port=port).status == 404
    p.rewrite({"admin_options": {}})
    assert p.admin("/reload", "POST").status == 200

    def closed():
        try:
            ask(p, "/ready", port=port)
            return False
        except OSError:
            return True
    until(closed, 10)


def test_access_log_of_the_admin(make, tmp_path):
    path = str(tmp_path / "admin.log")
    p = make.proxy(make.origin())
    p.rewrite({"admin": {"address": {"socket_address": {"address": "127.0.0.1",
                                                        "port_value": p.admin_port}},
                         "access_log": [{"name": "f", "typed_config": {
                             "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3"
                                      ".FileAccessLog",
                             "path": path, "log_format": {"text_format": "%REQ(:PATH)%\n"}}}]}})
    assert p.admin("/reload", "POST").status == 200
    assert p.admin("/stats?filter=server.live").status == 200

    def there():
        with open(path, encoding="ascii") as f:
            return "/stats?filter=server.live\n" in f.read()
    until(there, 5)
    p.signal(1)
    p.wait_stat("server.config_update_success", 3)
    assert p.admin("/clusters").status == 200


def test_a_unix_socket(make, tmp_path):
    path = str(tmp_path / "admin.sock")
    p = make.march(make.origin())
    p.rewrite({"admin": "unix:" + path})
    with wire.Client(p.admin_port, timeout=10) as c:
        assert c.request("POST", "/reload", headers=[("Connection", "close")],
                         host="127.0.0.1").status == 200

    def answers():
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        try:
            s.connect(path)
            s.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b"LIVE" in s.recv(65536)
        except OSError:
            return False
        finally:
            s.close()
    until(answers, 5)


@pytest.mark.parametrize("more", [-1, 0])
def test_series_are_capped(make, more):
    p = make.march(make.origin())

    def series():
        text = p.admin("/metrics").body.decode()
        return [line for line in text.splitlines() if line and line[0] != "#"], text
    n = len(series()[0])
    p.rewrite({"admin_options": {"max_series": n + more}})
    assert p.admin("/reload", "POST").status == 200
    lines, text = series()
    assert len(lines) <= n + more
    assert ("series are left out" in text) == (more < 0)
    assert (p.stat("server.admin_series_left_out") > 0) == (more < 0)


def test_secrets_are_redacted(make):
    p = make.march(make.origin(), fields={"filters": {"auth": {
        "jwt_secret": "very-secret-key-of-the-test", "base64_tokens": ["c2VjcmV0LXRva2Vu"]}}})
    for target in ("/config_dump", "/server_info", "/stats", "/clusters", "/listeners", "/runtime"):
        body = p.admin(target).body.decode()
        assert "very-secret-key" not in body and "c2VjcmV0LXRva2Vu" not in body, target
    assert json.dumps(p.admin_json("/config_dump")).count("[redacted]") >= 2
