#!/usr/bin/python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measures MarchProxy against nginx, HAProxy, h2o and nghttpx.

    run.py                               all scenarios; results go to bench/results/
    run.py -s h1_1k,h1_c512 -p nginx     some scenarios, some peers
    run.py --quick -s h1_1k -n 4         a look while tuning: nothing is recorded
    run.py --perf -s h1_1k --quick       where the time goes (perf record of the proxy)
    run.py --list                        the scenarios

Environment: MARCHPROXY_BIN names another binary than build/marchproxy. It decides about nothing: a missed target is
reported, not an error.
"""
import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from benchlib import machine, report, sample, tls
from benchlib.machine import BENCH, WORK, Group
from benchlib.peers import Peer
from benchlib.scenarios import BY_NAME, PEERS, SCENARIOS


def say(text):
    print(text, flush=True)


class Run:
    def __init__(self, args, scenarios, wanted):
        self.args, self.scenarios, self.wanted = args, scenarios, wanted
        self.results, self.problems, self.versions = {}, [], {}
        self.backend = None
        self.backend_port = machine.free_port()
        self.kind = "?"

    def start_backend(self):
        self.backend = Group("backend")
        log = os.path.join(WORK, "backend.out")
        self.backend.start([os.path.join(WORK, "backend"), str(self.backend_port)], machine.LOAD_CPU, log)
        machine.wait_listening(self.backend_port, self.backend, log)
        self.kind = self.backend.kind

    def start_peers(self, scenario):
        """The entries of a scenario that can run: key -> (peer, path)."""
        out = {}
        for name, variant, path in scenario.entries(self.wanted):
            peer = Peer(name, variant)
            if not peer.available():
                self.problem("%s is not installed or not built (%s)" % (name, peer.program()))
                continue
            try:
                peer.start(self.backend_port)
                tls.check(peer, scenario)
            except (RuntimeError, OSError, subprocess.SubprocessError) as e:
                self.problem("%s: %s" % (peer.key, e))
                peer.stop()
                continue
            self.versions.setdefault(peer.base, peer.version())
            out[peer.key if scenario.kind in ("routes", "filters") else name] = (peer, path)
        return out

    def problem(self, text):
        if text not in self.problems:
            self.problems.append(text)
            say("! " + text)

    def run(self):
        self.start_backend()
        try:
            for scenario in self.scenarios:
                say("== %s: %s" % (scenario.name, scenario.text))
                there = self.start_peers(scenario)
                try:
                    time.sleep(0.3)
                    self.measure(scenario, there)
                finally:
                    for peer, _ in there.values():
                        peer.stop()
        finally:
            self.backend.stop()

    def measure(self, scenario, there):
        if scenario.kind == "idle":
            self.results[scenario.name] = {"idle": {}}
            for name, (peer, _) in there.items():
                try:
                    r = sample.idle_bytes(peer, 2000 if peer.variant in tls.VARIANTS else 18000)
                except (RuntimeError, OSError) as e:
                    self.problem("%s %s: %s" % (scenario.name, name, e))
                    continue
                self.results[scenario.name]["idle"][name] = r
                say("   %-16s %6.0f bytes (%d connections)" % (name, r["bytes"], r["connections"]))
            return
        entries = {name: {"samples": []} for name in there}
        self.results[scenario.name] = {"entries": entries}
        for name, (peer, path) in list(there.items()):
            try:
                first = sample.load(scenario, peer.port, path, 1)
                if first["bad"] or first["errors"] or first["requests"] < 10:
                    self.problem("%s %s: %d requests, %d bad, %d errors while warming up" % (
                        scenario.name, name, first["requests"], first["bad"], first["errors"]))
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
                self.problem("%s %s: %s" % (scenario.name, name, e))
        rounds, extra = self.args.n, 0 if self.args.quick else self.args.n
        done = 0
        while done < rounds + extra:
            for name, (peer, path) in there.items():
                try:
                    entries[name]["samples"].append(sample.take(scenario, peer, path, self.args.d))
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
                    self.problem("%s %s: %s" % (scenario.name, name, e))
            done += 1
            if done >= rounds and self.enough(entries):
                break
        self.tell(scenario)
        if self.args.perf:
            self.perf(scenario, there)

    def enough(self, entries):
        best = report.best_calibration(self.results)
        return best is not None and all(len(report.gated(e["samples"], best)) >= self.args.n
                                        for e in entries.values())

    def tell(self, scenario):
        report.judge([scenario], self.results)
        r = self.results[scenario.name]
        for name, e in r["entries"].items():
            if "us" in e:
                ratio = r.get("ratios", {}).get(name)
                say("   %-18s %8.2f us (min %.2f, cv %.1f %%)  %7.0f/s  %d of %d samples%s" % (
                    name, e["us"], e["us_min"], e["cv"], e["rps"], e["n"], e["taken"],
                    "  ours/it %.2f" % ratio if ratio else ""))
            elif e["samples"]:
                say("   %-18s %8.2f us at best, but all %d samples were dropped (%d with errors)" % (
                    name, min(s["us"] for s in e["samples"]), e["taken"], e["failed"]))
            else:
                say("   %-18s no sample" % name)
        if "verdict" in r:
            say("   %s (target %s)" % (r["verdict"], report.target_text(scenario)))

    def perf(self, scenario, there):
        """Samples by the CPU clock, as virtual machines have no counters."""
        tool = shutil.which("perf")
        if not tool:
            self.problem("perf is not installed")
            return
        for name, (peer, path) in there.items():
            if peer.base != "marchproxy" and self.wanted is None:
                continue
            data = os.path.join(WORK, "perf.%s.%s.data" % (scenario.name, peer.key))
            pids = ",".join(str(p) for p in peer.group.pids())
            p = subprocess.Popen([tool, "record", "-q", "-e", "cpu-clock", "-F", "4000", "-g", "-o", data,
                                  "-p", pids], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                time.sleep(0.3)
                sample.load(scenario, peer.port, path, max(2, self.args.d))
            finally:
                p.send_signal(signal.SIGINT)
                p.wait(20)
            out = subprocess.run([tool, "report", "--stdio", "-q", "--no-children", "-g", "none",
                                  "--percent-limit", "0.5", "-i", data], capture_output=True, encoding="utf-8")
            say("   perf of %s (%s):" % (name, data))
            say("\n".join("   " + x for x in out.stdout.splitlines() if x.strip())[:6000])

    def about(self, calibration):
        return {**machine.describe(), "accounting": self.kind, "calibration": calibration,
                "seconds": self.args.d, "versions": self.versions, "problems": self.problems}


def record(run, about):
    name = "%s-%s" % (time.strftime("%Y-%m-%d"), about["commit"])
    folder = WORK if run.args.quick else os.path.join(BENCH, "results")
    base = os.path.join(folder, name)
    text = report.markdown(run.scenarios, run.results, about)
    with open(base + ".md", "w", encoding="utf-8") as f:
        f.write(text)
    with open(base + ".json", "w", encoding="utf-8") as f:
        json.dump({"about": about, "results": run.results}, f, indent=1, sort_keys=True)
        f.write("\n")
    return base


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-s", help="scenarios, separated by commas (default: all)")
    p.add_argument("-p", help="proxies, separated by commas (default: all; with --quick: marchproxy, nginx)")
    p.add_argument("-n", type=int, help="samples of each (default 8; with --quick 4)")
    p.add_argument("-d", type=int, default=1, help="seconds of a sample (default 1)")
    p.add_argument("--quick", action="store_true", help="no extra rounds for dropped samples, nothing recorded")
    p.add_argument("--perf", action="store_true", help="perf record of each of our entries (or of those named by -p)")
    p.add_argument("--list", action="store_true")
    args = p.parse_args()
    args.n = args.n or (4 if args.quick else report.SAMPLES_MIN)
    if args.p is None and args.quick:
        args.p = "marchproxy,nginx"
    return args


def main():
    args = parse()
    if args.list:
        for s in SCENARIOS:
            print("%-10s %s; target %s" % (s.name, s.text, report.target_text(s)))
        return 0
    names = args.s.split(",") if args.s else [s.name for s in SCENARIOS]
    wanted = args.p.split(",") if args.p else None
    unknown = [n for n in names if n not in BY_NAME] + [
        n for n in wanted or [] if n.split("-")[0] not in PEERS + ["marchproxy"]]
    if unknown:
        print("unknown: %s" % ", ".join(unknown), file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("two CPUs are needed: one for the proxy, one for the load", file=sys.stderr)
        return 2
    machine.build_helpers()
    tls.prepare()
    with open(os.path.join(WORK, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one run at a time
        run = Run(args, [BY_NAME[n] for n in names], wanted)
        try:
            run.run()
        except KeyboardInterrupt:
            say("interrupted")
            return 130
        about = run.about(report.judge(run.scenarios, run.results))
        base = record(run, about)
    say("")
    say(report.overview(run.scenarios, run.results))
    say("")
    say("details: %s.md, %s.json" % (base, base))
    return 0


if __name__ == "__main__":
    sys.exit(main())
