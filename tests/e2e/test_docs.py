# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stands in the documents and examples as a configuration is one."""
import glob
import os
import re
import sys

import pytest

from harness.proxy import ROOT, run_once
from harness.wire import reply

# For ${NAME} without a default.
VALUES = {"JWT_SECRET": "a secret of 48 bytes or more, so that it is no news", "JWT_SECRET_BEFORE": "x" * 48,
          "LICENSE_KEY": "PENG-1234-5678-90AB-CDEF-WXYZ"}
WHOLE = re.compile(r"^(static_resources|services):", re.M)
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.M | re.S)


def documents():
    for path in sorted(glob.glob(ROOT + "/README.md") + glob.glob(ROOT + "/docs/**/*.md", recursive=True)):
        with open(path, encoding="utf-8") as f:
            for n, block in enumerate(BLOCK.findall(f.read())):
                if not WHOLE.search(block):
                    continue  # a piece of one
                yield pytest.param(block, id="%s-%d" % (os.path.relpath(path, ROOT), n + 1))
    for path in sorted(glob.glob(ROOT + "/examples/*.yaml")):
        with open(path, encoding="utf-8") as f:
            yield pytest.param(f.read(), id=os.path.relpath(path, ROOT))


@pytest.mark.parametrize("text", documents())
def test_it_is_accepted(tmp_path, monkeypatch, text):
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    file = str(tmp_path / "c.yaml")
    with open(file, "w", encoding="utf-8") as f:
        f.write(text)
    code, _, err = run_once("-c", file, "-t")
    assert code == 0, err
    assert "warning" not in err, err


def described():
    """Names of statistics as tools/gen_ops_docs.py and docs/filters.md tell them, as regular expressions. (That the page is
    current is for make check.)"""
    sys.path.insert(0, ROOT + "/tools")
    import gen_ops_docs
    parts = re.split(r"^## `(.*)\*`$", gen_ops_docs.stats_page(), flags=re.M)[1:]
    for prefix, text in zip(parts[::2], parts[1::2]):
        for name in re.findall(r"^\| `([^`]+)` \|", text, re.M):
            yield re.sub("<[^>]*>", ".+", re.escape(prefix).replace("\\ ", " ")) + re.escape(name)
    with open(ROOT + "/docs/filters.md", encoding="utf-8") as f:
        rows = re.findall(r"^\| (`marchproxy_.*?) \|", f.read(), re.M)
    for row in rows:
        first = None
        for name in re.findall(r"`([^`]+)`", row):
            if name[0] in "._":  # the end of the one before
                name = (first.rsplit(".", 1)[0] if name[0] == "." else re.match(r"marchproxy_(license|responses)", first)[0]) + name
            first = first or name
            yield re.sub("<[^>]*>", ".+", re.escape(name))


def test_every_statistic_is_described(make):
    """Of a proxy with all filters that has served and refused something."""
    o = make.origin(lambda r: reply(200, b"x"))
    p = make.march(o, fields={"filters": {"auth": {"base64_tokens": ["t"]}, "license": {}, "metrics": {}}, "access_log": "off"})
    for path in ("/", "/api/v1/multi-cloud", "/healthz"):
        p.get(path, headers=[("Authorization", "Bearer t")])
    p.get("/")
    known = re.compile("|".join("(?:%s)" % x for x in described()))
    unknown = [name for name in p.stats() if not known.fullmatch(name)]
    assert not unknown, "tools/gen_ops_docs.py does not find them, nor does docs/filters.md tell them: %s" % unknown


def test_there_are_some():
    assert len(list(documents())) >= 6
