# SPDX-License-Identifier: AGPL-3.0-or-later
"""marchctl as a user runs it."""
import os
import subprocess

from . import proxy

BINARY = os.path.join(os.path.dirname(os.path.abspath(proxy.BINARY)), "marchctl")


def run(*args, admin=None, env=None, timeout=20):
    """(exit code, stdout, stderr). admin: a Proxy, or an address."""
    e = proxy.environment()
    e.pop("MARCHPROXY_ADMIN", None)
    e.pop("MARCHPROXY_TOKEN_FILE", None)
    e.update(env or {})
    if admin is not None:
        e["MARCHPROXY_ADMIN"] = admin if isinstance(admin, str) else "127.0.0.1:%d" % admin.admin_port
    p = subprocess.run([BINARY, *args], capture_output=True, timeout=timeout, env=e, encoding="utf-8",
                       errors="replace", stdin=subprocess.DEVNULL)
    assert not proxy.SANITIZER.search(p.stderr), p.stderr
    assert p.returncode >= 0, (args, p.returncode, p.stderr)
    return p.returncode, p.stdout, p.stderr
