/* SPDX-License-Identifier: GPL-2.0-only */
/* The guard's maps. Names and layouts of the first three are for bpftool users as well (SPEC 1.5).
 */
#pragma once
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/shared/guard.h"

#define MP_AI static __always_inline

/* Set before the program is loaded. */
const volatile __u32 mp_has_frags = 1; /* the kernel has multi-buffer XDP (5.18) */

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, MP_GUARD_SOURCES_MAX);
    __type(key, __u32);
    __type(value, struct mp_guard_window);
} rate_limit_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct mp_guard_rate);
} rate_limit_config_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct mp_guard_stats);
} stats_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, MP_GUARD_SOURCES6_MAX);
    __type(key, __u64);
    __type(value, struct mp_guard_window);
} rate_limit6_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, MP_GUARD_SYNS_MAX);
    __type(key, __u32);
    __type(value, struct mp_guard_window);
} syn_limit_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, MP_GUARD_SYNS_MAX);
    __type(key, __u64);
    __type(value, struct mp_guard_window);
} syn_limit6_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct mp_guard_config);
} guard_config_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct mp_guard_counters);
} guard_stats_map SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct mp_guard_flood);
} guard_flood_map SEC(".maps");

#define MP_LIST(name, key_type, value_type)     \
    struct {                                    \
        __uint(type, BPF_MAP_TYPE_LPM_TRIE);    \
        __uint(max_entries, MP_GUARD_LIST_MAX); \
        __uint(map_flags, BPF_F_NO_PREALLOC);   \
        __type(key, key_type);                  \
        __type(value, value_type);              \
    } name SEC(".maps")

MP_LIST(deny4_map, struct mp_guard_prefix4, struct mp_guard_denial);
MP_LIST(deny6_map, struct mp_guard_prefix6, struct mp_guard_denial);
MP_LIST(allow4_map, struct mp_guard_prefix4, struct mp_guard_allowance);
MP_LIST(allow6_map, struct mp_guard_prefix6, struct mp_guard_allowance);

MP_AI void *map_first(void *map)
{
    __u32 zero = 0;
    return bpf_map_lookup_elem(map, &zero);
}
