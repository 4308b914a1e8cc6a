#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the reference pages of docs/ops/ from the tables in the source: statistics, response flags, limits, admin pages.

    gen_ops_docs.py            write the pages (also: make fmt)
    gen_ops_docs.py --check    exit 1 when a page is not what the source says (make check)

What the tables do not hold, such as what to do about a flag, stands here. A flag or a limit without such a text is listed
without it, and told on standard error.
"""
import argparse
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OPS = os.path.join(ROOT, "docs", "ops")
HEAD = "<!-- SPDX-License-Identifier: AGPL-3.0-or-later -->\n<!-- Written by tools/gen_ops_docs.py from the source: change that. -->\n"
missing = []


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)


def texts(c):
    """The string literals of C code, neighbours joined."""
    return ["".join(re.findall(r'"((?:[^"\\]|\\.)*)"', m[0])).replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
            for m in re.finditer(r'"(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*', c)]


def cell(s):
    return str(s).replace("|", "\\|").replace("\n", " ").strip()


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell(c) for c in r) + " |" for r in rows]) + "\n"


# ---- statistics

KINDS = {"MP_STAT_COUNTER": "counter", "MP_STAT_GAUGE": "gauge", "MP_STAT_HISTOGRAM": "histogram",
         "MP_COUNTER": "counter", "MP_COUNTER_L": "counter", "MP_GAUGE": "gauge", "MP_HISTOGRAM": "histogram"}
SCOPES = {"http": "<stat_prefix>", "cluster": "<cluster>", "listener": "<address>", "http1": "<side>", "http2": "<side>",
          "overload_resource": "<resource>", "overload_action": "<action>", "overload_reset": "<action>",
          "watchdog": "<thread>", "access_log": "access_log"}
ABOUT = {
    "server": "The process.",
    "listener": "A listener, named by its address. For the time since the last restart, not the last reload.",
    "http": "An HTTP connection manager, named by its `stat_prefix`; of a simple file `ingress_http`. The admin interface is one, "
            "too: `admin`.",
    "cluster": "A cluster: what we do as a client. In a simple file a service.",
    "http1": "HTTP/1 messages that were refused; the side is `downstream` for requests, `upstream` for responses.",
    "http2": "HTTP/2 towards clients. A cluster has the same names among its own.",
    "access_log": "Access logs, all of them together.",
    "watchdog": "Threads that stand still: a worker's loop, or the main one. `hang_timeout` ends the process.",
    "xdp": "The guard in the kernel, of all interfaces; only with `xdp:` in the configuration.",
    "overload_resource": "What the overload manager watches.",
    "overload_action": "What the overload manager does.",
    "overload_reset": "The same, of the action that resets streams."}


ARGUMENT = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^",])+),?')


def calls_of(path):
    """The lines of a .def file; those of another one that it includes under a macro of its own, as that expands."""
    text = read("src/" + path)
    macros = {m[1]: (m[2].split(", "), m[3]) for m in re.finditer(r"^#define (\w+)\(([^)]*)\) (.*)$", text, re.M)}
    for line in text.splitlines():
        other = re.match(r'#include "([\w/]+\.def)"', line)
        for inner in calls_of(other[1]) if other else [line]:
            m = re.match(r"(\w+)\((.*)\)$", inner)
            if m and m[1] in macros:
                names, body = macros[m[1]]
                values = dict(zip(names, (a.strip() for a in ARGUMENT.findall(m[2]))))
                inner = re.sub(r'"(?:[^"\\]|\\.)*"|\b\w+\b', lambda w: values.get(w[0], w[0]), body.replace("##", ""))
            yield inner


def def_file(path):
    """(name, kind, help, split) of each line of a .def file."""
    for m in re.finditer(r"^(MP_\w+)\((\w+),(.*)\)$", "\n".join(calls_of(path)), re.M):
        t = texts(m[3])
        if len(t) == 1:  # MP_H1_REASON(token, status, text): the token is the name
            yield m[2].lower(), "counter", "Messages refused: " + t[0], None
        else:
            yield t[0], KINDS.get(m[1], "counter"), t[1], tuple(t[2:5]) if m[1] == "MP_COUNTER_L" else None


def defs(body):
    """The stats of the initialiser of an array of struct mp_stat_def."""
    for path in re.findall(r'#include "([\w/]+\.def)"', body):
        yield from def_file(path)
    for m in re.finditer(r"^ *(COUNTER|GAUGE|HISTOGRAM)\((.*?)\),$", body, re.M | re.S):
        t = texts(m[2])
        yield t[0], m[1].lower(), t[1], None
    for m in re.finditer(r"\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*)\}", body):
        kind = re.search(r"MP_STAT_\w+", m[1])
        if not kind or "#" in m[1]:
            continue
        named = {k: "".join(texts(v)) for k, v in re.findall(r'\.(\w+) = ((?:"(?:[^"\\]|\\.)*"\s*)+)', m[1])}
        t = texts(m[1])
        split = (named["prom_name"], named["label"], named["label_value"]) if "prom_name" in named else None
        yield named.get("name", t[0]), KINDS[kind[0]], named.get("help", t[1] if len(t) > 1 else ""), split


def schemas():
    """Of all of src but the stock filters, whose statistics docs/filters.md tells."""
    out = []
    for file in sorted(glob.glob(ROOT + "/src/**/*.c", recursive=True)):
        path = os.path.relpath(file, ROOT)
        if path.startswith("src/filters/"):
            continue
        code = read(path)
        arrays = dict(re.findall(r"struct mp_stat_def (\w+)\[[^\]]*\] = \{(.*?)\n\};", code, re.S))
        for body in re.findall(r"struct mp_stat_schema \w+ = \{(.*?)\};", code, re.S):
            fields = dict(re.findall(r'\.(\w+) = ((?:"[^"]*"\s*)+|\w+)', body))
            if fields.get("defs") not in arrays:
                sys.exit("%s: cannot find the stats of a schema: %s" % (path, body))
            rows = list(defs(arrays[fields["defs"]]))
            if not rows:
                sys.exit("%s: cannot read %s" % (path, fields["defs"]))
            count = re.fullmatch(r"ST_(\w+)", fields.get("n", ""))
            if count and not count[1].endswith("COUNT"):  # a schema of the first ones only
                order = re.findall(r"\[(ST_\w+)\]", arrays[fields["defs"]])
                rows = rows[:order.index(fields["n"])]
            text = {k: "".join(texts(fields.get(k, ""))) for k in ("kind", "text_prefix", "prom_prefix", "label")}
            out.append((text, rows))
    order = list(ABOUT)
    return sorted(out, key=lambda s: (order.index(s[0]["kind"]) if s[0]["kind"] in order else 99, s[0]["kind"]))


def stats_page():
    parts = [HEAD, "# Statistics\n\n",
             "On the admin interface: `/stats` as text, `/stats?format=json`, and `/stats/prometheus`. `?filter=<regex>` selects by\n"
             "name, `?usedonly` leaves out what never counted, `?type=Counters` one kind. `marchctl stats` shows the same.\n\n"
             "Names are Envoy's where it has one. In text a scope is a part of the name, for Prometheus it is a label; characters\n"
             "that Prometheus does not allow become `_`. Times are ms. Counters begin at 0 with the process and last through\n"
             "reloads. Statistics of the filters auth, license and metrics: [../filters.md](../filters.md#statistics).\n"]
    for schema, rows in schemas():
        scope = SCOPES.get(schema["kind"], "<name>") if schema["label"] or schema["kind"] == "access_log" else ""
        prefix = schema["text_prefix"] + (scope + "." if scope else "")
        label = '{%s="..."}' % schema["label"] if schema["label"] else ""
        parts.append("\n## `%s`\n\n%s For Prometheus `%s<name>%s`.\n\n" % (
            prefix + "*", ABOUT.get(schema["kind"], ""), schema["prom_prefix"], label))
        lines = []
        for name, kind, help_, split in rows:
            other = ' (Prometheus: `%s{%s="%s"}`)' % (schema["prom_prefix"] + split[0], split[1], split[2]) if split else ""
            lines.append(("`%s`" % name, kind, help_ + other))
        parts.append(table(("name", "kind", "meaning"), lines))
    return "".join(parts)


# ---- response flags

FLAGS = {
    "UH": ("No host of the cluster can be used: there is none, its name does not resolve, or none is healthy.",
           "`/clusters`; `cluster.<name>.membership_total`, `update_failure`"),
    "UF": ("No connection to the service: refused, unreachable, or not within the connect timeout.",
           "is it listening? `cluster.<name>.upstream_cx_connect_fail`, `upstream_cx_connect_timeout`"),
    "UO": ("A limit towards the service is reached, and so many requests wait already.",
           "a slow service, or `service_connections`, `service_pending`, `service_requests` are too low; "
           "`cluster.<name>.upstream_rq_pending_overflow`, `upstream_cx_overflow`"),
    "NR": ("No virtual host has the Host, or no route of it the path.", "the Host that the client sends; the order of the routes"),
    "URX": ("The request was tried as often as it may be, and failed each time.", "`attempts` of the route's retries; `cluster.<name>.upstream_rq_retry*`"),
    "UT": ("The service did not answer within the route's timeout.", "`timeout` of the route; how long the service takes"),
    "URX": ("Every attempt failed, the last one too.", "the hosts of the service, `upstream_rq_retry_limit_exceeded`; "
            "docs/upstreams.md"),
    "UR": ("The service reset the request.", "its log"),
    "UC": ("The service closed the connection before it had answered.",
           "its keep-alive timeout: it must be longer than ours; its log for a crash"),
    "UPE": ("What the service sent is no HTTP that we accept.", "`http1.upstream.*` says which rule; `cluster.<name>.upstream_cx_protocol_error`"),
    "DC": ("The client went away before it had the whole answer.", "its timeout; how long the service takes"),
    "DPE": ("What the client sent is no HTTP that we accept.", "`http1.downstream.*` says which rule"),
    "LR": ("We reset the request, or cut the connection: a filter, or the end of draining.", "the details"),
    "SI": ("Nothing moved for the stream idle timeout.", "`stream_idle_timeout`; which side stands still"),
    "DT": ("The request took longer than it may.", "`max_stream_duration`"),
    "NC": ("The route names a cluster that there is not.", "the configuration"),
    "OM": ("Memory or descriptors are short; the request was refused or reset.", "`overload.*`; [limits.md](limits.md)"),
}
CALLS = re.compile(r"\b(\w*(?:reply|fail|abort|reset|refuse|lost|finish|cut|respond|answer)\w*)"
                   r"\(((?:[^()\";]|\"(?:[^\"\\]|\\.)*\"|\((?:[^()]|\([^()]*\))*\))*)\)")


def details():
    """What %RESPONSE_CODE_DETAILS% may say -> statuses and flags, as far as they stand beside it."""
    shorts = dict(re.findall(r'MP_FLAG\((\w+), "(\w+)"', read("src/core/response_flag.def")))
    found = {}
    files = glob.glob(ROOT + "/src/core/*.c") + glob.glob(ROOT + "/src/filters/http/*.c")
    for file in sorted(files):
        for _, args in CALLS.findall(read(os.path.relpath(file, ROOT))):
            last = re.search(r'"([a-z][a-z0-9_{}|]*)"\s*$', args)
            if not last:
                continue
            statuses, flags = found.setdefault(last[1], (set(), set()))
            statuses.update(re.findall(r"(?<![\w\"])([1-5]\d\d)(?![\w\"])", args))
            flags.update(shorts[f] for f in re.findall(r"MP_FLAG_(\w+)", args) if f in shorts)
    return found


def flags_page():
    rows = []
    for short, meaning in re.findall(r'MP_FLAG\(\w+, "(\w+)", "([^"]+)"\)', read("src/core/response_flag.def")):
        if short not in FLAGS:
            missing.append("response flag %s" % short)
        cause, look = FLAGS.get(short, ("", ""))
        rows.append(("`%s`" % short, meaning, cause, look))
    parts = [HEAD, "# Response flags and details\n\n",
             "Why the proxy answered itself, or an answer ended early: `%RESPONSE_FLAGS%` in an access log, several with commas,\n"
             "`-` for none. A status that comes from the service has none.\n\n",
             table(("flag", "meaning", "what happened", "look at"), rows),
             "\n## Details\n\n`%RESPONSE_CODE_DETAILS%` is more exact. `via_upstream`: the answer is the service's. Others, with the\n"
             "status and the flag that they go with where it is always the same one:\n\n"]
    rows = [("`%s`" % name, ", ".join(sorted(statuses)) or "-", ", ".join(sorted(flags)) or "-")
            for name, (statuses, flags) in sorted(details().items())]
    parts.append(table(("details", "status", "flag"), rows))
    parts.append("\nThose of auth (`auth_...`) and license are explained in [../filters.md](../filters.md).\n"
                 "\n## Messages that are refused\n\n"
                 "Details of malformed messages, and the counters `http1.downstream.<name>` (requests) and `http1.upstream.<name>`\n"
                 "(responses, which become 502). The connection closes.\n\n")
    reasons = re.findall(r'MP_H1_REASON\((\w+), (\d+), "([^"]+)"\)', read("src/codec/h1_reason.def"))
    parts.append(table(("name", "status of a request", "rule"), [("`%s`" % n.lower(), s, t) for n, s, t in reasons]))
    return "".join(parts)


# ---- limits

OWN_HTTP = "`marchproxy.config.v1.HttpLimits` in `http_filters`: "
OWN_LISTENER = "`marchproxy.config.v1.ListenerLimits` in `listener_filters`: "
OPTIONS = "`common_http_protocol_options`."
# field: (default, bounds, in an Envoy bootstrap, what happens beyond it, counter)
LIMITS = {
    "head_bytes": ("61440", "1024 to 61440", "`max_request_headers_kb`, or " + OWN_HTTP + "`max_request_head_bytes`", "431, the connection closes",
                   "`http.<p>.downstream_rq_headers_too_large`"),
    "header_fields": ("100", "1 to 65535", OPTIONS + "`max_headers_count`", "431, the connection closes", "`http.<p>.downstream_rq_headers_too_large`"),
    "body_bytes": ("0: no limit", "", OWN_HTTP + "`max_request_body_bytes`", "413", "`http.<p>.downstream_rq_too_large`"),
    "connections": ("50000, less when descriptors are few", "1 and more", "resource monitor `downstream_connections`",
                    "closed when they are accepted", "`listener.<a>.downstream_global_cx_overflow`"),
    "buffer_bytes": ("32768", "1024 to 1 GiB", "`per_connection_buffer_limit_bytes`", "the faster side is not read for a while",
                     "`http.<p>.downstream_flow_control_paused_reading_total`"),
    "requests_per_connection": ("0: no limit", "", OPTIONS + "`max_requests_per_connection`", "the connection closes after the answer",
                                "`http.<p>.downstream_cx_max_requests_reached`"),
    "idle_timeout": ("3600s", "0s: none", OPTIONS + "`idle_timeout`", "a connection without a request closes", "`http.<p>.downstream_cx_idle_timeout`"),
    "stream_idle_timeout": ("300s", "0s: none", "`stream_idle_timeout`; of a route `idle_timeout`", "408 or 504, or the connection closes; flag SI",
                            "`http.<p>.downstream_rq_idle_timeout`"),
    "request_timeout": ("300s in a simple file without gRPC, none in Envoy's", "0s: none", "`request_timeout`", "408", "`http.<p>.downstream_rq_timeout`"),
    "request_headers_timeout": ("10s", "0s: none", "`request_headers_timeout`", "408, the connection closes", "`http.<p>.downstream_rq_header_timeout`"),
    "max_connection_duration": ("0s: none", "", OPTIONS + "`max_connection_duration`", "the connection closes when it is idle or after the answer",
                                "`http.<p>.downstream_cx_max_duration_reached`"),
    "drain_timeout": ("5s", "", "`drain_timeout`", "what is left of a connection that is to end is cut", "-"),
    "service_connections": ("1024", "", "`circuit_breakers` `max_connections`", "requests wait", "`cluster.<c>.upstream_cx_overflow`"),
    "service_pending": ("1024", "", "`circuit_breakers` `max_pending_requests`", "503, flag UO", "`cluster.<c>.upstream_rq_pending_overflow`"),
    "service_requests": ("1024", "", "`circuit_breakers` `max_requests`", "503, flag UO", "`cluster.<c>.upstream_rq_pending_overflow`"),
    "service_retries": ("3", "", "`circuit_breakers` `max_retries`", "no other try: the answer that there is passes", "`cluster.<c>.upstream_rq_retry_overflow`"),
    "max_stream_duration": ("none", "0s: none", OPTIONS + "`max_stream_duration`", "504, or the connection closes; flag DT",
                            "`http.<p>.downstream_rq_max_duration_reached`"),
    "per_source_connections": ("no limit", "0: none", OWN_LISTENER + "`max_connections_per_source`", "closed when they are accepted",
                               "`listener.<a>.downstream_cx_source_overflow`"),
    "accepts_per_second": ("no limit", "0: none", OWN_LISTENER + "`accepts_per_second`, `accept_burst`", "closed when they are accepted",
                           "`listener.<a>.downstream_cx_rate_limited`"),
    "per_source_accepts_per_second": ("no limit", "0: none", OWN_LISTENER + "`source_accepts_per_second`, `source_accept_burst`",
                                      "closed when they are accepted", "`listener.<a>.downstream_cx_source_rate_limited`"),
    "tcp_keepalive_time": ("60s", "0s: off", "`socket_options` of the listener (off)", "a client that is gone without a word is noticed", "-"),
    "tcp_keepalive_interval": ("15s", "", "the same", "", "-"),
    "tcp_keepalive_probes": ("4", "1 to 127", "the same", "", "-"),
    "memory_bytes": ("three quarters of what the system gives", "4 MiB and more", "`overload_manager`, monitor `marchproxy.resource_monitors.memory`", "503 and flag OM, resets, refused connections",
                     "`overload.<resource>.pressure`"),
    "descriptors": ("RLIMIT_NOFILE", "64 and more", "`overload_manager`, monitor `marchproxy.resource_monitors.descriptors`", "connections are refused", "`overload.<resource>.pressure`"),
    "overload": ("true in a simple file", "", "`overload_manager`", "false: memory and descriptors are not watched", "`overload.<action>.active`"),
    "hang_timeout": ("30s in a simple file, never in Envoy's", "0s: never", "`watchdogs`", "the process ends, for the supervisor to start it again", "-"),
}


def limits_page():
    body = re.search(r"message Limits \{(.*?)\n\}", open(os.path.join(ROOT, "proto/marchproxy_config_v1.proto"), encoding="utf-8").read(), re.S)[1]
    fields = re.findall(r"^  (?:[\w.]+) (\w+) = \d+;", body, re.M)
    known = {name for _, rows in schemas() for name, *_ in rows}
    rows = []
    for f in fields:
        if f not in LIMITS:
            missing.append("limit %s" % f)
        default, bounds, envoy, effect, counter = LIMITS.get(f, ("", "", "", "", ""))
        for name in re.findall(r"\.(\w+)`", counter):
            if name not in known:
                sys.exit("limit %s: there is no stat %s" % (f, name))
        rows.append(("`%s`" % f, default, bounds, envoy, effect, counter))
    gone = sorted(set(LIMITS) - set(fields))
    if gone:
        sys.exit("limits that there are not: %s" % ", ".join(gone))
    return "".join([HEAD, "# Limits\n\n",
                    "Everything that others can make grow has an end. In a simple file under `limits:`; in an Envoy bootstrap where Envoy\n"
                    "has it, otherwise in messages of our own. All have safe defaults. In names of counters `<p>` is the manager's\n"
                    "`stat_prefix`, `<a>` the listener's address, `<c>` the cluster.\n\n",
                    table(("`limits:`", "default", "bounds", "in an Envoy bootstrap", "beyond it", "counter"), rows),
                    "\nWhat the system gives counts, too: `ulimit -n` (each request takes up to two descriptors), `net.core.somaxconn` (the queue of\n"
                    "connections that are not accepted yet), `net.ipv4.ip_local_port_range` (connections to one service).\n"
                    "The log says at start how many connections the descriptors allow: `connections_max`.\n"])


# ---- admin pages

def admin_page():
    body = re.search(r"builtin\[\] = \{(.*?)\n\};", read("src/admin/admin.c"), re.S)[1]
    rows = []
    for m in re.finditer(r'\{("/[^"]*"), MP_METHOD_(\w+), \w+,((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\}', body):
        t = texts(m[3].replace("NULL", ""))
        strings = re.split(r",", m[3])
        help_ = texts(strings[0])[0] if texts(strings[0]) else t[0]
        whole = "".join(t)
        params = [p for p in whole[len(help_):].strip().split("\n") if p] if whole.startswith(help_) else []
        rows.append(("`%s`" % m[1].strip('"'), m[2], help_, "; ".join("`%s`: %s" % tuple(p.split(": ", 1)) for p in params)))
    return "".join([HEAD, "# Admin interface\n\n",
                    "Listens on 127.0.0.1:9901 unless the configuration says otherwise (`admin:`). Whoever reaches it can stop the proxy: keep it\n"
                    "on loopback or a Unix socket. What changes something is POST. Requests that a browser sends on behalf of another site are\n"
                    "refused. Secrets are `[redacted]` everywhere. `marchctl` is a command line for it.\n\n",
                    table(("page", "method", "does", "parameters"), rows)])


PAGES = {"stats.md": stats_page, "response_flags.md": flags_page, "limits.md": limits_page, "admin.md": admin_page}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    stale = []
    for name, make in PAGES.items():
        path, text = os.path.join(OPS, name), make()
        old = open(path, encoding="utf-8").read() if os.path.exists(path) else None
        if old == text:
            continue
        stale.append("docs/ops/" + name)
        if not args.check:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
    for what in dict.fromkeys(missing):
        print("gen_ops_docs.py: nothing is said about %s" % what, file=sys.stderr)
    if args.check and stale:
        sys.exit("not what the source says: %s; run tools/gen_ops_docs.py" % ", ".join(stale))


if __name__ == "__main__":
    main()
