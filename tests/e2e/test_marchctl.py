# SPDX-License-Identifier: AGPL-3.0-or-later
"""marchctl: subcommands, JSON, exit codes, completion, man page."""
import json
import os
import re
import socket
import subprocess
import threading

import pytest

from harness import ctl, wire
from harness.proxy import ROOT

MARCH = """listen: 127.0.0.1:@PORT0@
admin: 127.0.0.1:@ADMIN@
access_log: off
services:
  - {name: "odd::name", hosts: ["::1"], port: 9}
  - {name: web, hosts: [127.0.0.1], port: @PORT1@}
routes:
  - {prefix: /, cluster_name: web}
"""


@pytest.fixture(scope="module")
def served(make_shared):
    o = make_shared.origin()
    p = make_shared.text(MARCH.replace("@PORT1@", str(o.port)), 1)
    for _ in range(3):
        p.get()
    return p


def good(p, *args, **kw):
    rc, out, err = ctl.run(*args, admin=p, **kw)
    assert (rc, err) == (0, ""), (args, rc, out, err)
    return out


def scripted(text, seen=None):
    """A server that answers one connection with these bytes; its address."""
    s = socket.create_server(("127.0.0.1", 0))
    s.settimeout(10)

    def serve():
        c, _ = s.accept()
        with c, s:
            got = c.recv(65536)
            if seen is not None:
                seen.append(got)
            c.sendall(text)
    threading.Thread(target=serve, daemon=True).start()
    return "127.0.0.1:%d" % s.getsockname()[1]


# -- subcommands

def test_stats(served):
    out = good(served, "stats", "^cluster\\.web\\.upstream_rq_total$")
    assert out == "cluster.web.upstream_rq_total: 3\n"
    assert json.loads(good(served, "stats", "--json", "--filter=^cluster.web.upstream_rq_total$"))
    assert "# TYPE envoy_cluster_upstream_rq_total counter" in good(served, "stats", "--prometheus")
    assert "upstream_cx_active" not in good(served, "stats", "--type", "Counters")
    rc, _, err = ctl.run("stats", "(", admin=served)
    assert rc == 1 and "regex" in err


def test_clusters(served):
    lines = good(served, "clusters").splitlines()
    assert [x.split()[:3] for x in lines] == [
        ["CLUSTER", "HOST", "HEALTH"], ["odd::name", "[::1]:9", "healthy"],
        ["web", lines[2].split()[1], "healthy"]]
    assert len(good(served, "clusters", "web").splitlines()) == 2
    assert "web::default_priority::max_connections::" in good(served, "clusters", "--raw")
    assert json.loads(good(served, "clusters", "--json"))["cluster_statuses"]


def test_one_request_commands(served):
    assert ":%d" % served.port in good(served, "listeners")
    assert json.loads(good(served, "--json", "listeners"))["listener_statuses"]
    assert good(served, "ready") == "LIVE\n"
    assert json.loads(good(served, "ready", "--json")) == {"ready": True, "state": "LIVE"}
    assert "marchproxy: info" in good(served, "log-level")
    assert "marchproxy: debug" in good(served, "log-level", "debug")
    assert json.loads(good(served, "log-level", "info", "--json")) == {"ok": True}
    assert good(served, "reopen-logs") == "OK\n"
    assert "/ready" in good(served, "get", "/help")
    assert good(served, "post", "/healthcheck/ok") == "OK\n"
    assert re.fullmatch(r"marchctl (\S+)\nserver marchproxy/\1\n", good(served, "version", "--server"))
    assert json.loads(good(served, "config", "dump"))["configs"]
    assert "odd::name" not in good(served, "config", "dump", "--resource", "static_clusters", "--name", "web")


def test_config_reload_and_validate(make):
    o = make.origin()
    p = make.text(MARCH.replace("@PORT1@", str(o.port)), 1)
    assert "configuration is live" in good(p, "config", "reload")
    assert json.loads(good(p, "config", "reload", "--json"))["live"] is True
    assert "OK" in good(p, "config", "validate", p.file)
    with open(p.file, "a", encoding="utf-8") as f:
        f.write("nonsense: 1\n")
    rc, out, err = ctl.run("config", "reload", admin=p)
    assert (rc, out) == (1, "") and "nonsense" in err
    rc, _, err = ctl.run("config", "validate", p.file)
    assert rc == 1 and "nonsense" in err


def test_drain(make):
    o = make.origin()
    p = make.text(MARCH.replace("@PORT1@", str(o.port)), 1)
    assert good(p, "drain", "--health-only") == "OK\n"
    rc, out, _ = ctl.run("ready", admin=p)
    assert (rc, out) == (1, "DRAINING\n")
    assert good(p, "drain", "--undo") == "OK\n"
    assert good(p, "ready") == "LIVE\n"
    with p.connect() as c:
        assert c.request("GET", "/").status == 200
        c.send(b"GET / HTTP/1.1\r\n")
        wire.until(lambda: p.stat("server.total_connections") == 1)
        rc, _, err = ctl.run("drain", "--wait", "0", admin=p)
        assert rc == 1 and "1 connections are still open" in err
    assert good(p, "drain", "--wait", "10") == "OK\n"
    good(p, "drain", "--quit")
    assert p.process.wait(10) == 0


def test_top(served):
    out = json.loads(good(served, "top", "--once", "--json", "--interval", "0.1"))
    assert [c["name"] for c in out["clusters"]] == ["odd__name", "web"]
    web = out["clusters"][1]
    assert web["hosts_healthy"] == web["hosts"] and web["requests_per_second"] >= 0
    assert [h["name"] for h in out["http"]] == ["ingress_http"]
    text = good(served, "top", "--count", "2", "--interval", "0.1")
    assert text.count("CLUSTERS") == 2 and text.count("LIVE, up ") == 2 and "\033" not in text


def test_rates_of_top(served):
    stop = threading.Event()

    def load():
        while not stop.is_set():
            served.get()
    t = threading.Thread(target=load)
    t.start()
    try:
        out = json.loads(good(served, "top", "--once", "--json"))
    finally:
        stop.set()
        t.join()
    assert out["clusters"][1]["requests_per_second"] > 1
    assert out["http"][0]["requests_per_second"] > 1 and out["http"][0]["bytes_out_per_second"] > 1


# -- the command line

@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["config"], ["config", "nonsense"], ["stats", "--nonsense"], ["stats", "a", "b"],
    ["stats", "--type"], ["stats", "--json=1"], ["ready", "x"], ["--timeout", "0", "ready"],
    ["--timeout", "x", "ready"], ["top", "--interval", "0"], ["top", "--once", "--count", "2"],
    ["drain", "--undo", "--quit"], ["completion", "fish"], ["get", "ready"], ["get", "/a b"],
    ["help", "nonsense"], ["clusters", "a", "--json"], ["stats", "--prometheus", "--json"]])
def test_wrong_usage(args):
    rc, out, err = ctl.run(*args, admin="127.0.0.1:1")
    assert (rc, out) == (2, "") and err


def test_help():
    rc, out, _ = ctl.run("help")
    commands = re.findall(r"^  ([a-z-]+(?: [a-z]+)?)(?: [A-Z\[].*?)?  ", out.split("Options of")[0], re.M)
    assert rc == 0 and {"stats", "clusters", "config dump", "drain", "top"} <= set(commands)
    for name in commands:
        rc, one, _ = ctl.run("help", *name.split())
        assert rc == 0 and one.startswith("Usage: marchctl " + name), name
    assert ctl.run("drain", "--help")[1] == ctl.run("help", "drain")[1]
    assert ctl.run("--version")[:2] == ctl.run("version")[:2]


# -- peers

def test_unreachable(tmp_path):
    assert ctl.run("ready", admin="127.0.0.1:1")[0] == 3
    assert ctl.run("ready", admin=str(tmp_path / "none.sock"))[0] == 3
    assert ctl.run("ready", admin="127.0.0.1:99999")[0] == 3
    assert ctl.run("ready", admin="[::1")[0] == 3


@pytest.mark.parametrize("answer", [
    b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"])
def test_answers_that_are_broken(answer):
    rc, out, err = ctl.run("get", "/x", admin=scripted(answer))
    assert (rc, out) == (3, "") and err


@pytest.mark.parametrize("answer,text", [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc"),
    (b"HTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
    (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
     "abcde"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "")])
def test_answers(answer, text):
    assert ctl.run("get", "/x", admin=scripted(answer))[:2] == (0, text)


def test_a_silent_peer():
    with socket.create_server(("127.0.0.1", 0)) as s:
        rc, _, err = ctl.run("--timeout", "1", "ready", admin="127.0.0.1:%d" % s.getsockname()[1])
    assert rc == 3 and "in time" in err


def test_token(tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    seen = []
    answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"
    rc, _, err = ctl.run("--token-file", str(token), "stats", admin=scripted(answer, seen))
    assert rc == 4 and "401: no" in err and "s3cret" not in err
    assert b"\r\nauthorization: Bearer s3cret\r\n" in seen[0]
    rc, _, _ = ctl.run("stats", admin=scripted(answer, seen), env={"MARCHPROXY_TOKEN_FILE": str(token)})
    assert rc == 4 and b"Bearer s3cret" in seen[1]
    token.write_text("\n")
    assert ctl.run("--token-file", str(token), "stats", admin="127.0.0.1:1")[0] == 3


def test_unix_socket(tmp_path):
    path = str(tmp_path / "admin.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    seen = []

    def serve():
        for _ in range(2):
            c, _ = s.accept()
            with c:
                seen.append(c.recv(65536))
                c.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nLIVE\n")
    t = threading.Thread(target=serve, daemon=True)
    t.start()
    assert ctl.run("ready", admin=path)[:2] == (0, "LIVE\n")
    assert ctl.run("ready", admin="unix:" + path)[:2] == (0, "LIVE\n")
    t.join(10)
    s.close()
    assert all(b"\r\nhost: localhost\r\n" in x for x in seen)


# -- what is made from the table

def complete(line):
    """What bash offers for a line; the last word is the one being written."""
    words = line.split(" ")
    script = ctl.run("completion", "bash")[1] + (
        "COMP_WORDS=(%s); COMP_CWORD=%d; _marchctl; printf '%%s\\n' \"${COMPREPLY[@]}\"" %
        (" ".join("'%s'" % w for w in words), len(words) - 1))
    p = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, timeout=10, text=True)
    assert p.stderr == "", p.stderr
    return p.stdout.split()


def test_bash_completion():
    assert {"stats", "config", "top"} <= set(complete("marchctl "))
    assert complete("marchctl cl") == ["clusters"]
    assert {"dump", "reload", "validate"} <= set(complete("marchctl config "))
    assert complete("marchctl --timeout 3 config du") == ["dump"]
    assert complete("marchctl drain --un") == ["--undo"]
    assert complete("marchctl log-level tr") == ["trace"]
    assert complete("marchctl stats --type G") == ["Gauges"]
    assert "--json" in complete("marchctl ready -")
    assert complete("marchctl completion z") == ["zsh"]


def test_zsh_completion():
    script = ctl.run("completion", "zsh")[1]
    assert script.startswith("#compdef marchctl\n")
    for name in ("stats", "config dump", "drain"):
        assert "        '%s')\n" % name in script


def test_man_page_is_made_from_the_table():
    with open(os.path.join(ROOT, "docs", "marchctl.1"), encoding="utf-8") as f:
        assert f.read() == ctl.run("--man")[1], "make it with: marchctl --man > docs/marchctl.1"
