/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Who is denied and who is allowed: the truth of which the kernel's maps are a copy. An entry has
 * up to two holders: the configuration, and an operator or a verdict (dynamic), which may expire.
 *
 * Locked as a whole: looked at when a connection is accepted, and only while something is denied;
 * changed by verdicts and operators. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"
#include "conf/model.h"

struct mp_addr;
struct mp_lists;

/* struct mp_guard_denial.origin and mp_guard_allowance.origin: bits. */
#define MP_LIST_CONFIG  1u
#define MP_LIST_MANUAL  2u
#define MP_LIST_VERDICT 4u
#define MP_LIST_BACKEND 8u
#define MP_LIST_DYNAMIC (MP_LIST_MANUAL | MP_LIST_VERDICT)

#define MP_LIST_MAX 262144 /* entries of each list and family: what the maps hold */

struct mp_list_entry {
    struct mp_conf_prefix prefix;
    uint32_t origin;
    uint32_t reason;     /* enum mp_guard_event + 1 of a verdict; 0: none */
    uint64_t since_ns;   /* CLOCK_MONOTONIC */
    uint64_t expires_ns; /* CLOCK_MONOTONIC; 0: never */
    bool mark;           /* private to mp_lists_replace */
};

/* The kernel's copy; NULL where there is none. put: expires_ns is the latest of all that cover it.
 */
struct mp_lists_sink {
    void (*put)(void *arg, bool deny, const struct mp_list_entry *e);
    void (*del)(void *arg, bool deny, const struct mp_conf_prefix *p);
    void (*counts)(void *arg, const uint32_t deny[2], const uint32_t allow[2]); /* IPv4, IPv6 */
    void *arg;
};

struct mp_lists *mp_lists_new(void);
struct mp_lists *mp_lists_free(struct mp_lists *l);
/* From now on changes go to the sink as well; everything there is goes to it at once. */
void mp_lists_set_sink(struct mp_lists *l, const struct mp_lists_sink *sink);
/* Replaces what is held by origin (CONFIG or BACKEND). */
void mp_lists_replace(struct mp_lists *l, bool deny, uint32_t origin,
                      const struct mp_conf_prefix *v, uint32_t n);
/* An entry of MANUAL or VERDICT; an entry that exists is renewed. LIMIT: the list is full. */
MP_MUST_USE mp_err mp_lists_add(struct mp_lists *l, bool deny, const struct mp_list_entry *e);
/* NOT_FOUND; STATE: the configuration holds it. */
MP_MUST_USE mp_err mp_lists_remove(struct mp_lists *l, bool deny, const struct mp_conf_prefix *p);
/* True while anything is denied. Cheap. */
bool mp_lists_any_denied(const struct mp_lists *l);
/* The allow list wins. */
bool mp_lists_is_denied(struct mp_lists *l, const struct mp_conf_prefix *host, uint64_t now_ns);
bool mp_lists_is_allowed(struct mp_lists *l, const struct mp_conf_prefix *host);
/* Takes what has expired away. Returns how many. */
uint32_t mp_lists_sweep(struct mp_lists *l, uint64_t now_ns);
void mp_lists_walk(struct mp_lists *l, bool deny,
                   void (*visit)(void *arg, const struct mp_list_entry *e), void *arg);
/* Grows with each change. */
uint64_t mp_lists_version(const struct mp_lists *l);

/* The address as a prefix of its own; false: it has none. */
bool mp_prefix_of(const struct mp_addr *a, struct mp_conf_prefix *ret);
#define MP_PREFIX_TEXT 64
void mp_prefix_format(const struct mp_conf_prefix *p, char out[MP_PREFIX_TEXT]);
