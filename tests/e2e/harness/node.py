# SPDX-License-Identifier: AGPL-3.0-or-later
"""Peers that run in node, with packages of tests/peers/package-lock.json."""
import json
import os
import select
import shutil
import subprocess
import time

import pytest

PEERS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "peers")


def need(*packages):
    """Skips the test, with the reason, unless node and the packages are there."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    for package in packages:
        if not os.path.isdir(os.path.join(PEERS, "node_modules", package)):
            pytest.skip("npm package %s is not installed (tools/bootstrap-debian.sh test)" % package)


class Node:
    """A script that prints JSON lines. The first one, of a server, says its port."""

    def __init__(self, script, *args):
        self.process = subprocess.Popen(["node", os.path.join(PEERS, script)] + [str(a) for a in args],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=PEERS)
        self.buf = b""
        self.lines = []

    def line(self, timeout=20.0):
        """The next line, parsed; None at the end of the output."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.buf:
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([self.process.stdout], [], [], wait)[0]:
                raise AssertionError("no line in %.0f s; so far: %r" % (timeout, self.lines[-5:]))
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self.buf += data
        text, self.buf = self.buf.split(b"\n", 1)
        try:
            value = json.loads(text)
        except ValueError:
            value = {"text": text.decode(errors="replace")}
        self.lines.append(value)
        return value

    def rest(self, timeout=60.0):
        """All lines up to the end."""
        deadline = time.monotonic() + timeout
        while self.line(max(0.1, deadline - time.monotonic())) is not None:
            pass
        self.process.wait(10)
        return self.lines

    @property
    def port(self):
        while not self.lines or "port" not in self.lines[0]:
            assert self.line() is not None, self.lines
        return self.lines[0]["port"]

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


def checks(node, timeout=60.0):
    """Runs a client script to its end; every check that it reports must have passed."""
    lines = node.rest(timeout)
    failed = [x for x in lines if not x.get("ok")]
    assert not failed, "\n".join(x.get("why") or str(x) for x in failed)
    assert node.process.returncode == 0
    return [x["check"] for x in lines]
