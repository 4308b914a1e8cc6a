# SPDX-License-Identifier: AGPL-3.0-or-later
"""The JSON Schema of march.yaml: complete by the .proto files, true to the examples, and able to say no."""
import glob
import json
import os
import re

import pytest
import yaml

from harness import ctl
from harness.proxy import ROOT, run_once

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def schema():
    rc, out, err = run_once("--schema")
    assert (rc, err) == (0, "")
    s = json.loads(out)
    jsonschema.Draft7Validator.check_schema(s)
    return s


def errors(schema, document):
    return [e.message for e in jsonschema.Draft7Validator(schema).iter_errors(document)]


def messages(name):
    """Message -> its fields, from the .proto file and not from the program."""
    with open(os.path.join(ROOT, "proto", name + ".proto"), encoding="utf-8") as f:
        text = re.sub(r"//.*", "", f.read())
    return {m: re.findall(r"(\w+)\s*=\s*\d+\s*;", body)
            for m, body in re.findall(r"^message (\w+) \{(.*?)^\}", text, re.M | re.S)}


def test_every_field_is_there(schema):
    ours = messages("marchproxy_config_v1")
    assert sorted(schema["properties"]) == sorted(ours["SimpleFile"] + ["include"])
    seen = 0
    for package, known in (("marchproxy.config.v1.", ours), ("marchproxy.filters.v1.", messages("marchproxy_filters_v1")),
                           ("marchproxy.xdp.v1.", messages("marchproxy_xdp_v1"))):
        for name, fields in known.items():
            if package + name in schema["definitions"]:
                have = schema["definitions"][package + name]["properties"]
                assert set(fields) <= set(have), name
                assert {h for h in have if h not in fields} <= {f + "_file" for f in fields}, name
                seen += 1
    assert seen == len(schema["definitions"])
    with open(os.path.join(ROOT, "proto", "marchproxy_config_v1.proto"), encoding="utf-8") as f:
        used = set(re.findall(r"^\s+(?:repeated )?([A-Z]\w+) \w+ = \d+;", f.read(), re.M))
    assert used >= {"Service", "Route", "Limits"}
    assert {"marchproxy.config.v1." + name for name in used} <= set(schema["definitions"])
    assert set(schema["properties"]["filters"]["properties"]) >= {"auth", "license", "metrics"}


def test_no_field_is_left_to_chance(schema):
    """A field whose type says nothing (google.protobuf.Value) has words of its own in the schema, or is data."""
    free = {"jwt_jwks"}
    for name, d in [("root", schema), *schema["definitions"].items()]:
        for field, value in d["properties"].items():
            assert value is not True or field in free, (name, field)


def files():
    for pattern in ("examples/march*.yaml", "examples/filters.yaml", "tests/data/conf/march/*"):
        yield from sorted(glob.glob(os.path.join(ROOT, pattern)))


@pytest.mark.parametrize("path", list(files()), ids=os.path.basename)
def test_good_files(schema, path):
    with open(path, encoding="utf-8") as f:
        document = yaml.safe_load(f)
    if path.endswith("full.yaml"):
        document.pop("filters")     # of a filter that only a unit test has
    assert errors(schema, document or {}) == []


GOOD = {"services": [{"name": "a", "hosts": ["127.0.0.1"], "port": 80}], "routes": [{"prefix": "/", "cluster_name": "a"}]}


@pytest.mark.parametrize("change", [
    {"include": ["a.yaml", "conf.d/*.yaml"]}, {"include": "a"}, {"listen": 80}, {"listen": ":80"},
    {"listen": [{"address": "1.2.3.4:80", "name": "x"}]}, {"limits": {"idle_timeout": "1.5s"}},
    {"limits": {"body_bytes": "${BYTES}"}}, {"filters": {"auth": {"jwt_secret_file": "/run/secret"}}},
    {"filters": {"auth": None}}, {"services": None}])
def test_what_is_allowed(schema, change):
    assert errors(schema, {**GOOD, **change}) == []


@pytest.mark.parametrize("change", [
    {"nonsense": 1}, {"services": {}}, {"services": [{"name": "a", "port": 70000}]}, {"services": [{"nonsense": 1}]},
    {"services": [{"port": "x"}]}, {"routes": [{"timeout": 1.5}]}, {"limits": {"idle_timeout": "1m"}},
    {"limits": {"head_bytes": -1}}, {"filters": {"nonsense": {}}}, {"filters": {"auth": {"nonsense_file": "x"}}},
    {"listen": [{"name": "x"}]}, {"include": {"a": 1}}, {"include": [1]},
    {"services": [{"tls_enabled": "perhaps"}]}, {"services": [{"protocol": "smtp"}]}])
def test_what_is_refused(schema, change):
    assert errors(schema, {**GOOD, **change}) != []


def test_marchctl_prints_it(schema):
    rc, out, err = ctl.run("config", "schema")
    assert (rc, err) == (0, "") and json.loads(out) == schema
