/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "kern/probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/compiler.h"

static int has_map(int type)
{
    return libbpf_probe_bpf_map_type((enum bpf_map_type)type, NULL);
}
static int has_prog(int type)
{
    return libbpf_probe_bpf_prog_type((enum bpf_prog_type)type, NULL);
}
static int has_xdp_helper(int helper)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, (enum bpf_func_id)helper, NULL);
}
/* What no call can ask without an interface. */
static int is_since(int version)
{
    struct utsname u;
    char *end;
    if (uname(&u) != 0) {
        return -1;
    }
    long major = strtol(u.release, &end, 10);
    if (end == u.release || *end != '.') {
        return -1;
    }
    long minor = strtol(end + 1, NULL, 10);
    return major * 100 + minor >= version;
}
static int has_jit(int unused)
{
    char c = '0';
    FILE *f = fopen("/proc/sys/net/core/bpf_jit_enable", "re");
    int n = f != NULL ? fscanf(f, "%c", &c) : 0;
    if (f != NULL) {
        fclose(f);
    }
    return n == 1 ? c != '0' : -1;
}
static int has_btf(int unused)
{
    return access("/sys/kernel/btf/vmlinux", R_OK) == 0;
}

static const struct {
    const char *name;
    int (*ask)(int what);
    int what;
    const char *without;
} features[] = {
    {"xdp", has_prog, BPF_PROG_TYPE_XDP, "no program at the card: limits act on connections"},
    {"sched_cls", has_prog, BPF_PROG_TYPE_SCHED_CLS, "no guard on virtual links with offloads"},
    {"lru_hash", has_map, BPF_MAP_TYPE_LRU_HASH, "no limits by source in the kernel"},
    {"lpm_trie", has_map, BPF_MAP_TYPE_LPM_TRIE, "no allow and deny lists in the kernel"},
    {"bpf_link", is_since, 509, "a restart leaves a gap"},
    {"xdp_frags", is_since, 518, "no frames above 4 KiB, no classification, no SYN cookies"},
    {"tcx", is_since, 606, "virtual links are guarded through clsact"},
    {"syn_cookies", has_xdp_helper, BPF_FUNC_tcp_gen_syncookie, "the stack answers SYN floods"},
    {"jit", has_jit, 0, "programs are interpreted: ten times slower"},
    {"btf", has_btf, 0, "bpftool shows maps as bytes"},
};
static int states[MP_COUNTOF(features)];
static int asked;

void mp_probe_run(void)
{
    for (uint32_t i = 0; i < MP_COUNTOF(features); i++) {
        states[i] = features[i].ask(features[i].what);
    }
    asked = 1;
}

uint32_t mp_probe_count(void)
{
    return MP_COUNTOF(features);
}

struct mp_probe mp_probe_get(uint32_t i)
{
    const char *state = !asked || states[i] < 0 ? "unknown" : states[i] > 0 ? "yes" : "no";
    return (struct mp_probe){features[i].name, state, features[i].without};
}
