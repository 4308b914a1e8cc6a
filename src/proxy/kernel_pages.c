/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/kernel_pages.h"

#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>

#include "admin/admin.h"
#include "admin/page.h"
#include "kern/guard.h"
#include "kern/probe.h"

static struct mp_guard *guard;

#define NS_PER_S 1000000000u

static bool wants_json(struct mp_admin_call *call, bool *ret)
{
    const struct mp_str *format = mp_admin_param(call, "format");
    *ret = format != NULL && mp_str_eq(*format, MP_STR("json"));
    if (format != NULL && !*ret && !mp_str_eq(*format, MP_STR("text"))) {
        mp_admin_fail(call, 400, "format is text or json\n");
        return false;
    }
    if (*ret) {
        call->content_type = MP_ADMIN_JSON;
    }
    return true;
}

/* ---- the lists ---- */

static const char *origin_name(uint32_t origin)
{
    return (origin & MP_LIST_CONFIG) != 0    ? "config"
           : (origin & MP_LIST_BACKEND) != 0 ? "backend"
           : (origin & MP_LIST_MANUAL) != 0  ? "manual"
                                             : "verdict";
}

struct listing {
    struct mp_sb *out;
    bool json, deny;
    uint32_t n;
    uint64_t now_ns;
};

static void list_entry(void *arg, const struct mp_list_entry *e)
{
    struct listing *l = arg;
    char prefix[MP_PREFIX_TEXT];
    struct mp_program *p = mp_guard_program(guard);
    bool expires = (e->origin & ~MP_LIST_DYNAMIC) == 0 && e->expires_ns != 0;
    uint64_t left = expires && e->expires_ns > l->now_ns
                        ? (e->expires_ns - l->now_ns + NS_PER_S - 1) / NS_PER_S
                        : 0;
    uint64_t hits = l->deny && p != NULL ? mp_program_hits(p, &e->prefix) : 0;
    const char *reason = mp_guard_reason_name(e->reason);
    mp_prefix_format(&e->prefix, prefix);
    if (l->json) {
        mp_sb_printf(l->out, "%s\n  {\"list\": \"%s\", \"source\": \"%s\", \"origin\": \"%s\"",
                     l->n++ > 0 ? "," : "", l->deny ? "deny" : "allow", prefix,
                     origin_name(e->origin));
        mp_sb_printf(l->out, ", \"reason\": \"%s\", \"packets_dropped\": %" PRIu64, reason, hits);
        if (expires) {
            mp_sb_printf(l->out, ", \"seconds_left\": %" PRIu64, left);
        }
        mp_sb_add_c(l->out, "}");
        return;
    }
    mp_sb_printf(l->out, "%s %s origin=%s", l->deny ? "deny" : "allow", prefix,
                 origin_name(e->origin));
    if (reason[0] != '\0') {
        mp_sb_printf(l->out, " reason=%s", reason);
    }
    if (expires) {
        mp_sb_printf(l->out, " seconds_left=%" PRIu64, left);
    }
    if (l->deny) {
        mp_sb_printf(l->out, " packets_dropped=%" PRIu64, hits);
    }
    mp_sb_add_char(l->out, '\n');
}

static void page_deny_list(struct mp_admin_call *call)
{
    struct listing l = {.out = &call->out, .now_ns = mp_guard_now_ns()};
    if (!wants_json(call, &l.json)) {
        return;
    }
    mp_sb_add_c(l.out, l.json ? "{\n \"entries\": [" : "");
    l.deny = true;
    mp_lists_walk(mp_guard_lists(guard), true, list_entry, &l);
    l.deny = false;
    mp_lists_walk(mp_guard_lists(guard), false, list_entry, &l);
    mp_sb_add_c(l.out, l.json ? "\n ]\n}\n" : "");
}

/* source=PREFIX of a call. */
static bool read_source(struct mp_admin_call *call, struct mp_conf_prefix *ret)
{
    const struct mp_str *source = mp_admin_param(call, "source");
    char text[80];
    if (source == NULL || source->n >= sizeof(text)) {
        mp_admin_fail(call, 400, "source=ADDRESS or source=PREFIX is missing\n");
        return false;
    }
    memcpy(text, source->p, source->n);
    text[source->n] = '\0';
    if (!mp_conf_prefix_parse(text, ret)) {
        mp_admin_fail(call, 400, "source: neither an address nor a prefix\n");
        return false;
    }
    return true;
}

static void answer(struct mp_admin_call *call, mp_err err)
{
    if (!mp_is_err(err)) {
        mp_sb_add_c(&call->out, "OK\n");
    } else if (err.code == MP_E_STATE) {
        mp_admin_fail(call, 409, "the configuration holds it: remove it there\n");
    } else if (err.code == MP_E_NOT_FOUND) {
        mp_admin_fail(call, 404, "it is on no list\n");
    } else {
        mp_admin_fail(call, 507, "the list is full\n");
    }
}

static void page_deny(struct mp_admin_call *call)
{
    struct mp_conf_prefix p;
    uint64_t seconds = 0;
    const struct mp_str *given = mp_admin_param(call, "seconds");
    if (given != NULL && (mp_is_err(mp_str_to_u64(*given, &seconds)) || seconds > 1000000000)) {
        mp_admin_fail(call, 400, "seconds: use 0 (for ever) to 1000000000\n");
        return;
    }
    if (read_source(call, &p)) {
        answer(call, mp_guard_deny(guard, &p, seconds * 1000));
    }
}

static void page_allow(struct mp_admin_call *call)
{
    struct mp_conf_prefix p;
    if (read_source(call, &p)) {
        answer(call, mp_guard_allow(guard, &p));
    }
}

static void page_remove(struct mp_admin_call *call)
{
    struct mp_conf_prefix p;
    if (read_source(call, &p)) {
        answer(call, mp_guard_remove(guard, &p));
    }
}

/* ---- the kernel ---- */

static void page_kernel(struct mp_admin_call *call)
{
    bool json;
    struct mp_sb *out = &call->out;
    struct mp_program *p = mp_guard_program(guard);
    struct utsname u;
    if (!wants_json(call, &json)) {
        return;
    }
    (void)uname(&u);
    mp_sb_printf(out, json ? "{\n \"kernel\": \"%s\",\n \"features\": [" : "kernel %s\n",
                 u.release);
    for (uint32_t i = 0; i < mp_probe_count(); i++) {
        struct mp_probe f = mp_probe_get(i);
        mp_sb_printf(out,
                     json ? "%s\n  {\"name\": \"%s\", \"state\": \"%s\", \"without\": \"%s\"}"
                          : "%s%-16s %-8s without it: %s\n",
                     json && i > 0 ? "," : "", f.name, f.state, f.without);
    }
    mp_sb_add_c(out, json ? "\n ],\n \"interfaces\": [" : "");
    for (uint32_t i = 0; i < mp_program_links(p); i++) {
        struct mp_link_state l = mp_program_link(p, i);
        if (!json) {
            mp_sb_printf(out, "interface %s: %s%s%s%s\n", l.interface, mp_link_kind_name(l.kind),
                         l.pinned ? ", pinned" : "", l.reason[0] != '\0' ? "; not " : "", l.reason);
            continue;
        }
        mp_sb_printf(out, "%s\n  {\"name\": \"%s\", \"mode\": \"%s\", \"pinned\": %s, \"reason\": ",
                     i > 0 ? "," : "", l.interface, mp_link_kind_name(l.kind),
                     l.pinned ? "true" : "false");
        mp_sb_add_json(out, mp_str_c(l.reason));
        mp_sb_add_c(out, "}");
    }
    mp_sb_add_c(out, json ? "\n ]\n}\n" : "");
}

static const struct mp_admin_page pages[] = {
    {"/deny_list", MP_METHOD_GET, page_deny_list, "who is denied and who is allowed by the guard",
     "format: text or json\n"},
    {"/deny_list/deny", MP_METHOD_POST, page_deny, "deny a source",
     "source: address or prefix\nseconds: for how long; default: for ever\n"},
    {"/deny_list/allow", MP_METHOD_POST, page_allow, "never drop or deny a source",
     "source: address or prefix\n"},
    {"/deny_list/remove", MP_METHOD_POST, page_remove, "take a source off both lists",
     "source: address or prefix\n"},
    {"/kernel", MP_METHOD_GET, page_kernel,
     "what the kernel offers the guard, and where it is attached", "format: text or json\n"},
};

void mp_kernel_pages_register(struct mp_guard *g)
{
    guard = g;
    for (size_t i = 0; i < MP_COUNTOF(pages); i++) {
        mp_admin_register(&pages[i]);
    }
}
