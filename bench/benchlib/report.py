# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gating, medians, ratios, the tables."""
import statistics

from .scenarios import FILTERS

GATE = 1.15
TOLERANCE = 1.05
SAMPLES_MIN = 8


def gated(samples, best):
    return [s for s in samples if s["calibration"] <= GATE * best and not s["errors"] and not s["bad"]]


def best_calibration(results):
    found = [s["calibration"] for r in results.values() for e in r.get("entries", {}).values()
             for s in e["samples"]]
    return min(found) if found else None


def summarise(entry, best):
    """Adds the figures of an entry beside its samples."""
    kept = gated(entry["samples"], best)
    entry["n"], entry["taken"] = len(kept), len(entry["samples"])
    entry["failed"] = sum(1 for s in entry["samples"] if s["errors"] or s["bad"])
    if not kept:
        return entry
    us = [s["us"] for s in kept]
    entry["us"] = statistics.median(us)
    entry["us_min"] = min(us)
    entry["cv"] = 100 * statistics.pstdev(us) / statistics.mean(us)
    entry["rps"] = statistics.median(s["rps"] for s in kept)
    entry["p50_us"] = statistics.median(s["p50_us"] or 0 for s in kept)
    return entry


def judge_load(scenario, result):
    ours = result["entries"].get("marchproxy")
    peers = {k: e for k, e in result["entries"].items() if k != "marchproxy" and "us" in e}
    if peers:
        name = min(peers, key=lambda k: peers[k]["us"])
        result["best"] = {"name": name, "us": peers[name]["us"]}
    if not ours or "us" not in ours or not peers:
        return
    result["ratios"] = {k: ours["us"] / e["us"] for k, e in peers.items()}
    ratio = result["ratios"][result["best"]["name"]]
    result["ratio"] = ratio
    enough = min([ours["n"]] + [e["n"] for e in peers.values()])
    result["verdict"] = verdict(ratio <= scenario.target * TOLERANCE, enough)
    if scenario.stretch and ratio <= scenario.stretch * TOLERANCE:
        result["verdict"] += ", stretch too" if result["verdict"] == "holds" else ""


def verdict(holds, n):
    if n < SAMPLES_MIN:
        return "would %s, but only %d samples" % ("hold" if holds else "miss", n)
    return "holds" if holds else "MISSES"


def judge_routes(scenario, result):
    """What 1000 routes add to the same request with one route."""
    result["added"] = {}
    for key, e in result["entries"].items():
        name, _, variant = key.partition(".")
        base = result["entries"].get(name)
        if variant and "us" in e and base and "us" in base:
            result["added"][name] = e["us"] - base["us"]
    if "marchproxy" in result["added"]:
        ours = [e for k, e in result["entries"].items() if k.startswith("marchproxy")]
        base = result["entries"]["marchproxy"]["us"]
        limit = (base + scenario.target) * TOLERANCE
        result["verdict"] = verdict(base + result["added"]["marchproxy"] <= limit, min(e["n"] for e in ours))


def judge_filters(scenario, result):
    """What each filter adds to the same request without."""
    base = result["entries"].get("marchproxy", {})
    if "us" not in base:
        return
    result["added"] = {k.partition(".")[2]: e["us"] - base["us"] for k, e in result["entries"].items()
                       if e is not base and "us" in e}
    holds = all(base["us"] + result["added"][k] <= (base["us"] + limit) * TOLERANCE
                for k, limit in FILTERS.items() if limit and k in result["added"])
    result["verdict"] = verdict(holds, min(e["n"] for e in result["entries"].values()))


def judge_idle(scenario, result):
    peers = {k: e["bytes"] for k, e in result["idle"].items() if k != "marchproxy"}
    if peers:
        name = min(peers, key=peers.get)
        result["best"] = {"name": name, "bytes": peers[name]}
    if "marchproxy" in result["idle"]:
        ours = result["idle"]["marchproxy"]["bytes"]
        result["verdict"] = "holds" if ours <= scenario.target * TOLERANCE else "MISSES"


def judge(scenarios, results):
    best = best_calibration(results)
    for s in scenarios:
        r = results.get(s.name)
        if r is None:
            continue
        for e in r.get("entries", {}).values():
            summarise(e, best)
        {"load": judge_load, "routes": judge_routes, "idle": judge_idle, "filters": judge_filters}[s.kind](s, r)
    return best


# ---- text


def target_text(s):
    if s.kind == "idle":
        return "<= %d B" % s.target
    if s.kind == "filters":
        return ", ".join("%s <= %.1f us" % kv for kv in FILTERS.items() if kv[1])
    if s.kind == "routes":
        return "<= +%.1f us" % s.target
    return "<= %.2f%s" % (s.target, ", stretch %.2f" % s.stretch if s.stretch else "")


def overview(scenarios, results):
    out = ["| scenario | marchproxy | best peer | ratio | target | |", "|---|---|---|---|---|---|"]
    for s in scenarios:
        r = results.get(s.name)
        if r is None:
            continue
        best, ours, ratio = "-", "-", "-"
        if s.kind == "idle":
            if "marchproxy" in r["idle"]:
                ours = "%.0f B" % r["idle"]["marchproxy"]["bytes"]
            if "best" in r:
                best = "%s %.0f B" % (r["best"]["name"], r["best"]["bytes"])
        elif s.kind == "filters":
            ours = ", ".join("%s %+.2f us" % kv for kv in r.get("added", {}).items()) or "-"
        elif s.kind == "routes":
            added = r.get("added", {})
            ours = "%+.2f us" % added["marchproxy"] if "marchproxy" in added else "-"
            best = ", ".join("%s %+.2f us" % kv for kv in added.items() if kv[0] != "marchproxy") or "-"
        else:
            e = r["entries"].get("marchproxy", {})
            ours = "%.2f us" % e["us"] if "us" in e else "-"
            if "best" in r:
                best = "%s %.2f us" % (r["best"]["name"], r["best"]["us"])
            ratio = "%.2f" % r["ratio"] if "ratio" in r else "-"
        out.append("| %s | %s | %s | %s | %s | %s |" % (s.name, ours, best, ratio, target_text(s),
                                                       r.get("verdict", "not measured")))
    return "\n".join(out)


def details(scenario, r):
    out = ["### %s: %s" % (scenario.name, scenario.text), ""]
    if scenario.kind == "idle":
        out += ["| proxy | connections | bytes each | PSS with 100, KiB |", "|---|---|---|---|"]
        out += ["| %s | %d | %.0f | %d |" % (k, e["connections"], e["bytes"], e["pss_kb"])
                for k, e in r["idle"].items()]
        return "\n".join(out + [""])
    out += ["| proxy | us/request | min | cv % | marchproxy / it | requests/s | p50 us | samples |",
            "|---|---|---|---|---|---|---|---|"]
    for k, e in sorted(r["entries"].items(), key=lambda ke: ke[1].get("us", 1e9)):
        if "us" not in e:
            out.append("| %s | no usable sample (%d taken, %d with errors) | | | | | | |"
                       % (k, e["taken"], e["failed"]))
            continue
        ratio = r.get("ratios", {}).get(k)
        out.append("| %s | %.2f | %.2f | %.1f | %s | %.0f | %s | %d of %d%s |" % (
            k, e["us"], e["us_min"], e["cv"], "%.2f" % ratio if ratio else "", e["rps"], "%.0f" % e["p50_us"] if e["p50_us"] else "-", e["n"],
            e["taken"], ", %d with errors" % e["failed"] if e["failed"] else ""))
    return "\n".join(out + [""])


def markdown(scenarios, results, about):
    out = ["# Benchmark of %s, commit %s%s" % (about["date"], about["commit"],
                                                " with local changes" if about["dirty"] else ""), "",
           "%s, %d CPUs, Linux %s. CPU time by %s. Best calibration %s ns; samples beyond %.2f times that are "
           "dropped." % (about["cpu"], about["cpus"], about["kernel"], about["accounting"],
                         "%.0f" % about["calibration"] if about["calibration"] else "-", GATE), "",
           "CPU microseconds of the proxy per request (user, system and softirq), gated medians of interleaved "
           "samples of %d s; one worker on CPU 0, load and backend on CPU 1. Requests/s and latency are limited by "
           "the load generator and say little." % about["seconds"], ""]
    out += ["- %s: %s" % kv for kv in about["versions"].items()]
    out += ["", overview(scenarios, results), ""]
    out += [details(s, results[s.name]) for s in scenarios if s.name in results]
    for problem in about["problems"]:
        out.append("- problem: %s" % problem)
    return "\n".join(out).rstrip() + "\n"
