# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command line: what each option does, and what is said about wrong ones."""
import os
import re

import pytest

from harness.proxy import ROOT, run_once


def test_version():
    code, out, err = run_once("--version")
    assert code == 0 and err == ""
    assert re.search(r"marchproxy.* \d+\.\d+\.\d+", out)


def test_help_names_every_option():
    code, out, err = run_once("--help")
    assert code == 0 and err == ""
    for option in ("-c", "-t", "--mode", "--concurrency", "--log-level", "--allow-unsupported",
                   "--drain-time-s", "--watch", "--version", "--help"):
        assert option in out


@pytest.mark.parametrize("args,word", [
    (["--nonsense"], "--nonsense"), (["-c"], "argument"), (["--mode", "sing", "-c", "/dev/null"], "sing"),
    (["--concurrency", "many", "-c", "/dev/null"], "many"),
    (["--concurrency", "-1", "-c", "/dev/null"], "-1"),
    (["--log-level", "loud", "-c", "/dev/null"], "loud"), (["stray"], "stray"),
    (["--concurrency", "0", "-c", "/dev/null"], "0"), (["--concurrency", "257", "-c", "x"], "257"),
    (["--drain-time-s", "86401", "-c", "x"], "86401"), (["--log-format", "xml", "-c", "x"], "xml"), ([], "-c"),
])
def test_wrong_usage(args, word):
    code, out, err = run_once(*args)
    assert code != 0 and out == ""
    assert word in err


def test_missing_file(tmp_path):
    path = str(tmp_path / "absent.yaml")
    code, _, err = run_once("-c", path)
    assert code == 1 and path in err and "No such file" in err


def test_folder_instead_of_a_file(tmp_path):
    code, _, err = run_once("-c", str(tmp_path), "-t")
    assert code == 1 and str(tmp_path) in err


@pytest.mark.parametrize("n", [1, 2, 4])
def test_concurrency(make, n):
    p = make.proxy(make.origin(), concurrency=n)
    assert p.stat("server.concurrency") == n
    assert p.admin_json("/server_info")["command_line_options"]["concurrency"] == n
    assert p.get().status == 200


def test_log_level(make):
    quiet = make.proxy(make.origin(), args=["--log-level", "error"])
    quiet.get()
    loud = make.proxy(make.origin(), args=["--log-level", "debug"])
    loud.get()
    quiet.stop()
    loud.stop()
    assert quiet.stderr == ""
    assert len(loud.stderr) > 0


def test_log_lines_go_to_stderr(make):
    p = make.proxy(make.origin())
    p.get()
    p.stop()
    assert p.stdout == ""


def test_environment_in_a_simple_file(make, monkeypatch):
    o = make.origin()
    monkeypatch.setenv("TEST_UPSTREAM", "127.0.0.1")
    p = make.march(services={"main": (["${TEST_UPSTREAM}"], o.port)})
    assert p.get().status == 200


def test_variables_of_what_is_not_there(make, monkeypatch):
    for name, value in (("XDS_SERVER", "api-server:18000"), ("CLUSTER_API_KEY", "s3cret")):
        monkeypatch.setenv(name, value)
    err = make.proxy(make.origin()).stderr
    assert "no effect yet name=XDS_SERVER" in err and "no effect yet name=CLUSTER_API_KEY" in err
    assert "s3cret" not in err


def test_the_man_page_has_every_option():
    out = run_once("--help")[1]
    with open(os.path.join(ROOT, "docs", "marchproxy.8"), encoding="utf-8") as f:
        man = f.read().replace("\\-", "-")
    options = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
    assert set(options.findall(out)) == set(options.findall(man))
