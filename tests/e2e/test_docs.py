# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stands in the documents and examples as a configuration is one."""
import glob
import os
import re

import pytest

from harness.proxy import ROOT, run_once

# For ${NAME} without a default.
VALUES = {"JWT_SECRET": "a secret of 48 bytes or more, so that it is no news", "JWT_SECRET_BEFORE": "x" * 48,
          "LICENSE_KEY": "PENG-1234-5678-90AB-CDEF-WXYZ"}
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.M | re.S)


def documents():
    for path in sorted(glob.glob(ROOT + "/README.md") + glob.glob(ROOT + "/docs/**/*.md", recursive=True)):
        with open(path, encoding="utf-8") as f:
            for n, block in enumerate(BLOCK.findall(f.read())):
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


def test_there_are_some():
    assert len(list(documents())) >= 6
