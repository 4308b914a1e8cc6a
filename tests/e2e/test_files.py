# SPDX-License-Identifier: AGPL-3.0-or-later
"""What march.yaml is made of: includes, variables, contents of files; how errors name the place."""
import os

import pytest

from harness import wire
from harness.proxy import new_ports, run_once

BASE = """listen: 127.0.0.1:%d
admin: 127.0.0.1:%d
access_log: off
"""
ROUTE = "routes: [{prefix: /, cluster_name: web}]\n"


def service(name="web", port=9):
    return "services: [{name: %s, hosts: [127.0.0.1], port: %d}]\n" % (name, port)


def put(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder / "march.yaml")


def check(folder, files, env=None):
    old = dict(os.environ)
    os.environ.update(env or {})
    try:
        return run_once("-t", "-c", put(folder, files))
    finally:
        os.environ.clear()
        os.environ.update(old)


def refused(folder, files, *messages, env=None):
    rc, _, err = check(folder, files, env)
    assert rc == 1, err
    for m in messages:
        assert m.replace("@", str(folder)) in err, err


def accepted(folder, files, env=None):
    rc, out, err = check(folder, files, env)
    assert rc == 0, err


# -- includes

def test_lists_and_maps_are_united(make, tmp_path):
    one, two = make.origin(), make.origin()
    port, admin = new_ports(2)
    put(tmp_path, {
        "conf.d/10-one.yaml": service("one", one.port) + "limits: {head_bytes: 8192}\n",
        "conf.d/20-two.yaml": service("two", two.port) + "routes: [{prefix: /two, cluster_name: two}]\n",
        "conf.d/ignored.txt": "nonsense\n",
        "more/empty.yaml": "# nothing yet\n"})
    p = make.text(BASE % (port, admin) + "include: [%s/conf.d/*.yaml, %s/more/empty.yaml]\n" % (tmp_path, tmp_path) +
                  "limits: {body_bytes: 1000}\nroutes: [{prefix: /one, cluster_name: one}]\n", ports=[port], admin=admin)
    assert p.get("/one").status == 200 and p.get("/two").status == 200
    assert p.get("/three").status == 404
    assert p.request("POST", "/one", body=b"x" * 1001).status == 413
    dump = p.admin_json("/config_dump")
    assert "include" not in str(dump)


def test_relative_to_the_file_that_includes(tmp_path):
    accepted(tmp_path, {"march.yaml": ROUTE + "include: parts/a.yaml\n", "parts/a.yaml": "include: deeper/*.yaml\n",
                        "parts/deeper/b.yaml": service()})


def test_a_pattern_without_a_match(tmp_path):
    accepted(tmp_path, {"march.yaml": ROUTE + service() + "include: conf.d/*.yaml\n"})


def test_includes_are_read_in_order(tmp_path):
    """The first error is the first file's."""
    bad = "services: [{name: %s, hosts: [127.0.0.1], port: 0}]\n"
    rc, _, err = check(tmp_path, {"march.yaml": ROUTE + "include: '*/x.yaml'\n", "b/x.yaml": bad % "b", "a/x.yaml": bad % "web"})
    lines = [x for x in err.splitlines() if "port is missing" in x]
    assert rc == 1 and lines[0].startswith(str(tmp_path / "a/x.yaml:1: services[0]"))
    assert lines[1].startswith(str(tmp_path / "b/x.yaml:1: services[1]"))


@pytest.mark.parametrize("files,messages", [
    ({"march.yaml": "include: none.yaml\n"}, ["@/march.yaml:1: include: cannot read \"@/none.yaml\": No such file"]),
    ({"march.yaml": "include: march.yaml\n"}, ["@/march.yaml:1: include: again: \"@/march.yaml\""]),
    ({"march.yaml": "\n\ninclude: a.yaml\n", "a.yaml": "\ninclude: b.yaml\n", "b.yaml": "include: a.yaml\n"},
     ["@/b.yaml:1: include: again: \"@/a.yaml\""]),
    ({"march.yaml": "include: {a: b}\n"}, ["march.yaml:1: include: not a path or pattern"]),
    ({"march.yaml": "include: [[a]]\n"}, ["march.yaml:1: include: not a path or pattern"]),
    ({"march.yaml": "include: a.yaml\n", "a.yaml": "- x\n"}, ["@/a.yaml:1: include: not a map"]),
    ({"march.yaml": "include: a.yaml\n", "a.yaml": "x: [\n"}, ["@/a.yaml:"]),
    ({"march.yaml": "include: a.yaml\n" + ROUTE + service(), "a.yaml": "\n\nnonsense: 1\n"}, ["@/a.yaml:3: nonsense"]),
    ({"march.yaml": "user: nobody\ninclude: a.yaml\n", "a.yaml": "\nuser: root\n"},
     ["@/a.yaml:2: key \"user\" is given twice, first in @/march.yaml:1 (keep one of them)"]),
    ({"march.yaml": "include: [a.yaml, b.yaml]\n", "a.yaml": "limits: {head_bytes: 1}\n", "b.yaml": "limits: {head_bytes: 2}\n"},
     ["@/b.yaml:1: key \"head_bytes\" is given twice, first in @/a.yaml:1"]),
    ({"march.yaml": "include: a.yaml\nservices: {}\n", "a.yaml": "services: []\n"}, ["key \"services\" is given twice"]),
    ({"march.yaml": ROUTE + service() + "include: a.yaml\n", "a.yaml": service()},
     ["@/a.yaml:1: services[1].name: name \"web\" is that of services[0] too"]),
    ({"march.yaml": "include: a.yaml\n", "a.yaml": "x: ${MP_TEST_UNSET}\n"}, ["@/a.yaml:1: environment variable is not set"]),
])
def test_refusals_name_file_and_line(tmp_path, files, messages):
    refused(tmp_path, files, *messages)


def test_too_deep(tmp_path):
    files = {"%d.yaml" % i: "include: %d.yaml\n" % (i + 1) for i in range(1, 9)}
    ok = dict(files)
    ok["8.yaml"] = service()
    accepted(tmp_path, {"march.yaml": ROUTE + "include: 1.yaml\n", **ok})
    files["9.yaml"] = service()
    refused(tmp_path, {"march.yaml": ROUTE + "include: 1.yaml\n", **files}, "@/8.yaml:1: include: too deep: \"9.yaml\"")


def test_too_many(tmp_path):
    files = {"d/%03d.yaml" % i: "\n" for i in range(255)}
    accepted(tmp_path, {"march.yaml": ROUTE + service() + "include: d/*\n", **files})
    refused(tmp_path, {"march.yaml": ROUTE + service() + "include: d/*\n", "d/999.yaml": "\n"},
            "too many files are included, at \"@/d/999.yaml\"")


def test_an_envoy_bootstrap_includes_nothing(tmp_path):
    refused(tmp_path, {"march.yaml": "static_resources: {}\ninclude: a.yaml\n"}, "mix a simple file with an Envoy bootstrap")


# -- variables

def test_variables(tmp_path):
    text = ROUTE + "services: \n- name: web\n  hosts: [\"${MP_HOST:-127.0.0.1}\"]\n  port: ${MP_PORT}\nnode_id: $${x}\n"
    accepted(tmp_path, {"march.yaml": text}, env={"MP_PORT": "80"})
    refused(tmp_path, {"march.yaml": text}, "march.yaml:5: environment variable is not set: \"MP_PORT\"")
    accepted(tmp_path, {"march.yaml": text}, env={"MP_PORT": "80", "MP_HOST": "localhost"})
    refused(tmp_path, {"march.yaml": text}, "70000", env={"MP_PORT": "70000"})
    refused(tmp_path, {"march.yaml": ROUTE + "${MP_PORT}: 1\n"}, "${MP_PORT}", env={"MP_PORT": "services"})


# -- files

AUTH = BASE + ROUTE + "filters:\n  auth:\n    %s\n    base64_tokens: [bm8=]\n"


def test_secrets_of_files(make, tmp_path):
    o = make.origin()
    (tmp_path / "key").write_text("tok-from-file\n")
    for line in ("base64_tokens: ['${file:%s/key}']", "base64_tokens: [\"${file:key}\"]"):
        port, admin = new_ports(2)
        text = BASE % (port, admin) + ROUTE + service("web", o.port) + "filters:\n  auth:\n    " + (
            line % tmp_path if "%s" in line else line) + "\n"
        p = make.text(text, ports=[port], admin=admin, ready=False)
        if "%s" not in line:      # beside the configuration, where there is none
            assert p.process.wait(15) == 1 and "cannot read" in p.stderr and "No such file" in p.stderr
            p.stopped = True
            continue
        p.wait_ready()
        assert p.get().status == 401
        assert p.get(headers=[("authorization", "Bearer tok-from-file")]).status == 200
        assert b"tok-from-file" not in p.admin("/config_dump").body


def test_fields_by_file(tmp_path):
    text = ROUTE + service() + "filters: {auth: {%s}}\n"
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef\n")
    accepted(tmp_path, {"march.yaml": text % "jwt_secret_file: key"})
    refused(tmp_path, {"march.yaml": text % "jwt_secret_file: none"}, "march.yaml:3: cannot read \"@/none\": No such file")
    refused(tmp_path, {"march.yaml": text % "jwt_secret_file: key, jwt_secret: x"}, "the value is given twice, here and as \"jwt_secret\"")
    refused(tmp_path, {"march.yaml": text % "nonsense_file: key"}, "nonsense")
    (tmp_path / "key").write_bytes(b"a\0b")
    refused(tmp_path, {"march.yaml": text % "jwt_secret_file: key"}, "holds a NUL byte")
    (tmp_path / "key").write_bytes(b"a" * 65537)
    refused(tmp_path, {"march.yaml": text % "jwt_secret: '${file:key}'"}, "cannot read")


# -- watched, and behind the broker

@pytest.mark.parametrize("user", [False, pytest.param(True, marks=pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has rights to give up"))])
def test_included_files_are_watched(make, tmp_path, monkeypatch, user):
    if user:
        monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0:exitcode=86")
    o = make.origin()
    port, admin = new_ports(2)
    put(tmp_path, {"conf.d/a.yaml": service("web", o.port)})
    p = make.text(BASE % (port, admin) + ("user: nobody\n" if user else "") +
                  "include: %s/conf.d/*.yaml\n" % tmp_path + "routes: [{prefix: /a, cluster_name: web}]\n",
                  ports=[port], admin=admin, args=("--watch",))
    assert p.get("/a").status == 200 and p.get("/b").status == 404
    put(tmp_path, {"conf.d/b.yaml": "routes: [{prefix: /b, cluster_name: web}]\n"})
    wire.until(lambda: p.get("/b").status == 200, 10)
    put(tmp_path, {"conf.d/b.yaml": "routes: [{prefix: /changed, cluster_name: web}]\n"})
    wire.until(lambda: p.get("/changed").status == 200, 10)
    (tmp_path / "conf.d/b.yaml").unlink()
    wire.until(lambda: p.get("/changed").status == 404, 10)
    put(tmp_path, {"conf.d/b.yaml": "nonsense: 1\n"})
    wire.until(lambda: "configuration refused" in p.stderr, 10)
    assert "b.yaml" in p.stderr and p.get("/a").status == 200
