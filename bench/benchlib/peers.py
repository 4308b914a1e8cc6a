# SPDX-License-Identifier: AGPL-3.0-or-later
"""The proxies under measurement: how each is configured and started."""
import json
import os
import re
import subprocess

from . import machine, scenarios, tls
from .machine import BENCH, WORK, Group

N_ROUTES = 1000
JSON_KEYS = [("start_time", "%START_TIME%"), ("method", "%REQ(:METHOD)%"),
             ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"), ("response_code", "%RESPONSE_CODE%"),
             ("bytes_sent", "%BYTES_SENT%"), ("bytes_received", "%BYTES_RECEIVED%"),
             ("duration", "%DURATION%"), ("user_agent", "%REQ(USER-AGENT)%")]
HAPROXY_LOG = ('{"start_time":"%[date,utime(%Y-%m-%dT%H:%M:%S)]","method":"%HM","path":"%HP",'
               '"response_code":%ST,"bytes_sent":%B,"bytes_received":%U,"duration":%Ta,'
               '"user_agent":"%[capture.req.hdr(0)]"}')
H2O_LOG = ('{"start_time":"%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}tZ","method":"%m","path":"%U%q",'
           '"response_code":%s,"bytes_sent":%b,"bytes_received":0,"duration":%{duration}x,'
           '"user_agent":"%{user-agent}i"}')
NGHTTPX_LOG = ('{"start_time":"$time_iso8601","method":"$method","path":"$path","response_code":$status,'
               '"bytes_sent":$body_bytes_sent,"bytes_received":0,"duration":$request_time,'
               '"user_agent":"$http_user_agent"}')


def march_binary():
    return os.environ.get("MARCHPROXY_BIN", os.path.join(machine.ROOT, "build", "marchproxy"))


class Peer:
    """name: as in the tables; variant: plain, log, routes, a set of filters, h2c, or one of TLS (tls.VARIANTS)."""

    def __init__(self, name, variant="plain"):
        self.name = name
        self.variant = variant
        self.base = name.split("-")[0]
        self.key = name if variant == "plain" else "%s.%s" % (name, variant)
        self.group = None
        self.port = None
        self.idle_max = 9000 if self.base == "haproxy" else 18000  # HAProxy counts two descriptors each

    # -- configuration

    def values(self, backend):
        self.port = machine.free_port()
        root = os.geteuid() == 0
        log = os.path.join(WORK, self.key + ".access.log")
        v = {"NAME": self.key, "WORK": WORK, "PORT": str(self.port), "BACKEND": str(backend),
             "ACCESS_LOG": "", "ROUTES": "", "GLOBAL_LOG": "", "USER": "",
             "LISTEN": "", "TLS": "", "ADMIN": str(machine.free_port()), "BUFFERS": "proxy_buffers 16 32k; "
             "proxy_busy_buffers_size 64k;", "SPLICE": "splice-auto"}
        if self.name == "nginx-256k":
            v["BUFFERS"] = "proxy_buffers 8 256k; proxy_busy_buffers_size 512k;"
        if self.name == "haproxy-splice":
            v["SPLICE"] = "splice-response"
        if root and self.base == "nginx":
            v["USER"] = "user root;"
        if root and self.base == "h2o":
            v["USER"] = "user: root"
        getattr(self, "values_" + self.base)(v, log)
        v.update(tls.values(self.base, self.variant))
        return v

    def values_nginx(self, v, log):
        logging = self.variant == "log"
        v["ACCESS_LOG"] = "access_log %s json buffer=64k flush=1s;" % log if logging else "access_log off;"
        if self.variant == "routes":
            v["ROUTES"] = "\n        ".join("location /svc%d/ { proxy_pass http://be; }" % i
                                            for i in range(N_ROUTES))

    def values_haproxy(self, v, log):
        if self.variant == "log":
            v["GLOBAL_LOG"] = "log stdout format raw local0 info"
            v["ACCESS_LOG"] = ("log global\n    log-format '%s'" % HAPROXY_LOG)
            v["ROUTES"] = "http-request capture req.hdr(User-Agent) len 200"
        if self.variant == "routes":
            table = os.path.join(WORK, self.key + ".map")
            with open(table, "w", encoding="ascii") as f:
                f.writelines("/svc%d/ be\n" % i for i in range(N_ROUTES))
            v["ROUTES"] = "use_backend %%[path,map_beg(%s,be)] if { path_beg /svc }" % table

    def values_h2o(self, v, log):
        if self.variant == "log":
            v["ACCESS_LOG"] = "access-log:\n  path: %s\n  format: '%s'" % (log, H2O_LOG)

    def values_nghttpx(self, v, log):
        if self.variant == "log":
            v["ACCESS_LOG"] = "accesslog-file=%s\naccesslog-format=%s" % (log, NGHTTPX_LOG)

    def values_marchproxy(self, v, log):
        if self.variant == "log":
            keys = ", ".join('%s: "%s"' % kv for kv in JSON_KEYS)
            v["ACCESS_LOG"] = (
                'access_log: [{ name: file, typed_config: { "@type": type.googleapis.com/envoy.extensions.'
                'access_loggers.file.v3.FileAccessLog, path: "%s", log_format: { json_format: { %s } } } }]'
                % (log, keys))
        if self.variant == "routes":
            v["ROUTES"] = "\n              ".join(
                '- { match: { prefix: "/svc%d/" }, route: { cluster: be, timeout: 30s } }' % i
                for i in range(N_ROUTES))
        v["FILTERS"] = "\n          ".join(self.filters())

    def filters(self):
        auth = {"jwt_secret": scenarios.TOKEN_SECRET}
        of = {"auth": [("Auth", auth)], "auth_uncached": [("Auth", {**auth, "jwt_cache_entries": 0})],
              "license": [("License", scenarios.LICENSE)], "metrics": [("Metrics", {})],
              "filters": [("Auth", auth), ("License", scenarios.LICENSE), ("Metrics", {})]}
        for name, conf in of.get(self.variant, []):
            typed = {"@type": "type.googleapis.com/marchproxy.filters.v1." + name, **conf}
            yield '- { name: %s, typed_config: %s }' % (name.lower(), json.dumps(typed))

    def render(self, backend):
        template = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "h2o": "h2o.conf",
                    "nghttpx": "nghttpx.conf", "marchproxy": "marchproxy.yaml"}[self.base]
        with open(os.path.join(BENCH, "peers", template), encoding="utf-8") as f:
            text = f.read()
        for key, value in self.values(backend).items():
            text = text.replace("@%s@" % key, value)
        left = re.findall(r"@[A-Z_]+@", text.replace("@NAMES@", ""))
        if left:
            raise RuntimeError("%s: not filled in: %s" % (template, left))
        path = os.path.join(WORK, self.key + os.path.splitext(template)[1])
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    # -- process

    def command(self, conf):
        return {"nginx": ["nginx", "-p", WORK, "-c", conf], "haproxy": ["haproxy", "-f", conf, "-db"],
                "h2o": ["h2o", "-c", conf], "nghttpx": ["nghttpx", "--conf=" + conf],
                "marchproxy": [march_binary(), "-c", conf, "--concurrency", "1", "--log-level",
                               "warning"]}[self.base]

    def program(self):
        return march_binary() if self.base == "marchproxy" else machine.tool(self.base)

    def available(self):
        program = self.program()
        return program is not None and os.access(program, os.X_OK)

    def version(self):
        flag = {"nginx": "-v", "haproxy": "-v", "h2o": "-v", "nghttpx": "-v",
                "marchproxy": "--version"}[self.base]
        p = subprocess.run([self.program(), flag], capture_output=True, encoding="utf-8", timeout=10)
        lines = (p.stdout + p.stderr).strip().splitlines()
        return lines[0] if lines else "?"

    def start(self, backend):
        command = self.command(self.render(backend))
        command[0] = self.program()
        log = os.path.join(WORK, self.key + ".out")
        if os.path.exists(log):
            os.unlink(log)
        self.group = Group(self.key)
        self.group.start(command, machine.PROXY_CPU, log)
        try:
            machine.wait_listening(self.port, self.group, log)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        if self.group:
            self.group.stop()
            self.group = None
        for suffix in (".access.log", ".out"):  # the log of a run can be large
            path = os.path.join(WORK, self.key + suffix)
            if os.path.exists(path) and (suffix != ".out" or self.variant == "log"):
                os.unlink(path)
