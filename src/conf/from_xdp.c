/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The kernel tier's configuration (proto/marchproxy_xdp_v1.proto). */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "conf/build.h"

typedef Marchproxy__Xdp__V1__Guard pb_guard;
typedef Google__Protobuf__Value pb_value;
typedef Google__Protobuf__UInt64Value pb_u64;

#define DEFAULT_PIN_PATH   "/sys/fs/bpf/marchproxy"
#define DEFAULT_STATE_FILE "/var/lib/marchproxy/deny_list"
#define SECOND_NS          1000000000u
#define WINDOW_NS_MIN      1000000u /* a millisecond */
#define WINDOW_NS_MAX      (3600ull * SECOND_NS)

/* ---- values ---- */

static const char *const modes[] = {"native", "skb", "hw", "tcx", NULL};

static const char *text_of(const pb_value *v)
{
    return v != NULL && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE ? v->string_value
                                                                                   : NULL;
}

static bool is_absent(const pb_value *v)
{
    return v == NULL || v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET ||
           v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
}

/* YAML takes "off" for false in some readers. */
static bool is_off(const pb_value *v)
{
    return (v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE && !v->bool_value) ||
           (text_of(v) != NULL && strcmp(text_of(v), "off") == 0);
}

static void build_u64(struct mp_conf_build *b, const char *sub, const pb_u64 *v, uint64_t min,
                      uint64_t max, uint64_t *ret)
{
    if (v != NULL && (v->value < min || v->value > max)) {
        char cure[80];
        snprintf(cure, sizeof(cure), "use %llu to %llu", (unsigned long long)min,
                 (unsigned long long)max);
        (void)mp_build_error(b, sub, cure, "%llu is out of range", (unsigned long long)v->value);
    } else if (v != NULL) {
        *ret = v->value;
    }
}

/* One of the words; otherwise when it is empty. */
static int build_word(struct mp_conf_build *b, const char *sub, const char *word,
                      const char *const *words, int otherwise)
{
    if (word[0] == '\0') {
        return otherwise;
    }
    char cure[200] = "use ";
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
        strncat(cure, i == 0 ? "" : ", ", sizeof(cure) - strlen(cure) - 1);
        strncat(cure, words[i], sizeof(cure) - strlen(cure) - 1);
    }
    (void)mp_build_error(b, sub, cure, "\"%s\" is unknown", word);
    return otherwise;
}

/* ---- lists ---- */

bool mp_conf_prefix_parse(const char *text, struct mp_conf_prefix *ret)
{
    char addr[INET6_ADDRSTRLEN];
    struct mp_conf_prefix p = {0};
    const char *slash = strchr(text, '/');
    size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
    uint64_t bits;
    if (n == 0 || n >= sizeof(addr)) {
        return false;
    }
    memcpy(addr, text, n);
    addr[n] = '\0';
    p.ip6 = strchr(addr, ':') != NULL;
    if (inet_pton(p.ip6 ? AF_INET6 : AF_INET, addr, p.addr) != 1) {
        return false;
    }
    bits = p.ip6 ? 128 : 32;
    if (slash != NULL) {
        uint64_t max = bits;
        if (mp_is_err(mp_str_to_u64(mp_str_c(slash + 1), &bits)) || bits > max) {
            return false;
        }
    }
    p.bits = (uint8_t)bits;
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t kept = bits > 8u * i ? (uint32_t)bits - 8u * i : 0;
        p.addr[i] &= kept >= 8 ? 0xff : (uint8_t)(0xff00u >> kept);
    }
    *ret = p;
    return true;
}

static void build_prefixes(struct mp_conf_build *b, const char *name, char **list, size_t n,
                           struct mp_conf_prefix **ret, uint32_t *ret_n)
{
    *ret = mp_build_take(b, n, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        if (mp_conf_prefix_parse(list[i], &(*ret)[*ret_n])) {
            (*ret_n)++;
            continue;
        }
        char sub[40];
        snprintf(sub, sizeof(sub), "%s[%zu]", name, i);
        (void)mp_build_error(b, sub, "write an address or a prefix: 10.0.0.0/8, 2001:db8::/32",
                             "\"%s\" is not an address", list[i]);
    }
}

static void add_interface(struct mp_conf_build *b, const char *sub, const char *name,
                          struct mp_conf_xdp *ret)
{
    if (name == NULL || name[0] == '\0' || strlen(name) >= IF_NAMESIZE ||
        strpbrk(name, "/ \t\n") != NULL) {
        (void)mp_build_error(b, sub, "write its name: eth0", "this is not a network interface");
        return;
    }
    for (uint32_t i = 0; i < ret->n_interfaces; i++) {
        if (strcmp(ret->interfaces[i].p, name) == 0) {
            (void)mp_build_error(b, sub, "keep one of them", "interface \"%s\" appears twice",
                                 name);
            return;
        }
    }
    ret->interfaces[ret->n_interfaces++] = mp_build_str(b, name);
}

static void build_interfaces(struct mp_conf_build *b, const pb_value *v, struct mp_conf_xdp *ret)
{
    if (is_absent(v)) {
        return;
    }
    if (v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE) {
        ret->interfaces = mp_build_take(b, 1, sizeof(*ret->interfaces));
        add_interface(b, "interface", text_of(v), ret);
        return;
    }
    size_t n = v->list_value->n_values;
    ret->interfaces = mp_build_take(b, n, sizeof(*ret->interfaces));
    for (size_t i = 0; i < n; i++) {
        char sub[40];
        snprintf(sub, sizeof(sub), "interface[%zu]", i);
        add_interface(b, sub, text_of(v->list_value->values[i]), ret);
    }
}

/* ---- sections ---- */

static void build_syn(struct mp_conf_build *b, const Marchproxy__Xdp__V1__SynLimit *m,
                      struct mp_conf_xdp *ret)
{
    static const char *const words[] = {"off", "flood", "always", NULL};
    if (m == NULL) {
        return;
    }
    size_t mark = mp_build_enter(b, "syn_limit");
    build_u64(b, "window_ns", m->window_ns, WINDOW_NS_MIN, WINDOW_NS_MAX, &ret->syn_window_ns);
    build_u64(b, "max_syns", m->max_syns, 1, UINT32_MAX, &ret->syn_max);
    mp_build_bool(m->enabled, &ret->syn_enabled);
    mp_build_u32(b, "flood_syns_per_second", m->flood_syns_per_second, 1, UINT32_MAX,
                 &ret->flood_syns);
    if (!is_absent(m->cookies)) {
        const char *word = is_off(m->cookies) ? "off" : text_of(m->cookies);
        ret->cookies = (enum mp_conf_cookies)build_word(b, "cookies", word != NULL ? word : "?",
                                                        words, MP_COOKIES_FLOOD);
    }
    mp_build_leave(b, mark);
}

static void build_ban(struct mp_conf_build *b, const Marchproxy__Xdp__V1__Ban *m,
                      struct mp_conf_xdp *ret)
{
    if (m == NULL) {
        return;
    }
    size_t mark = mp_build_enter(b, "ban");
    mp_build_ms(b, "duration", m->duration, &ret->ban_ms);
    mp_build_ms(b, "window", m->window, &ret->ban_window_ms);
    if (ret->ban_ms < 1) {
        (void)mp_build_error(b, "duration", "use 1s or more", "the duration is 0");
    }
    if (ret->ban_window_ms < 1000 || ret->ban_window_ms > 86400000) {
        (void)mp_build_error(b, "window", "use 1s to 24h", "the window is out of range");
    }
    const struct {
        const char *name;
        const pb_u32 *value;
    } counts[] = {{"auth_failures", m->auth_failures},
                  {"rate_limited", m->rate_limited},
                  {"protocol_errors", m->protocol_errors},
                  {"header_timeouts", m->header_timeouts},
                  {"client_errors", m->client_errors}};
    for (size_t i = 0; i < MP_COUNTOF(counts); i++) {
        mp_build_u32(b, counts[i].name, counts[i].value, 1, 65535, &ret->ban_after[i]);
    }
    mp_build_leave(b, mark);
}

static void build_paths(struct mp_conf_build *b, const pb_guard *m, struct mp_conf_xdp *ret)
{
    if (m->pin_path[0] != '\0' && m->pin_path[0] != '/') {
        (void)mp_build_error(b, "pin_path", "begin it with /", "the path is not absolute");
    }
    ret->pin_path = mp_build_str(b, m->pin_path[0] != '\0' ? m->pin_path : DEFAULT_PIN_PATH);
    ret->state_file = mp_build_str(b, DEFAULT_STATE_FILE);
    if (!is_absent(m->state_file)) {
        const char *path = text_of(m->state_file);
        if (is_off(m->state_file)) {
            ret->state_file = mp_build_str(b, "");
        } else if (path == NULL || strchr(path, '/') == NULL) {
            (void)mp_build_error(b, "state_file", "use a path (./deny_list), or off",
                                 "this is not a file");
        } else {
            ret->state_file = mp_build_str(b, path);
        }
    }
}

static void set_defaults(struct mp_conf_xdp *ret)
{
    *ret = (struct mp_conf_xdp){.window_ns = SECOND_NS,
                                .max_packets = 10000,
                                .rate_enabled = true,
                                .syn_window_ns = SECOND_NS,
                                .syn_max = 1000,
                                .syn_enabled = true,
                                .cookies = MP_COOKIES_FLOOD,
                                .flood_syns = 10000,
                                .ban_ms = 600000,
                                .ban_window_ms = 60000};
}

void mp_build_xdp(struct mp_conf_build *b, const pb_guard *m, struct mp_conf_xdp *ret)
{
    static const char *const exits[] = {"detach", "keep", NULL};
    set_defaults(ret);
    build_interfaces(b, m->interface, ret);
    ret->mode_given = m->mode[0] != '\0';
    ret->mode = (enum mp_conf_xdp_mode)build_word(b, "mode", m->mode, modes, MP_XDP_NATIVE);
    ret->keep_on_exit = build_word(b, "on_exit", m->on_exit, exits, 0) == 1;
    if (m->rate_limit != NULL) {
        size_t mark = mp_build_enter(b, "rate_limit");
        build_u64(b, "window_ns", m->rate_limit->window_ns, WINDOW_NS_MIN, WINDOW_NS_MAX,
                  &ret->window_ns);
        build_u64(b, "max_packets", m->rate_limit->max_packets, 1, UINT32_MAX, &ret->max_packets);
        mp_build_bool(m->rate_limit->enabled, &ret->rate_enabled);
        mp_build_leave(b, mark);
    }
    build_syn(b, m->syn_limit, ret);
    build_prefixes(b, "allow", m->allow, m->n_allow, &ret->allow, &ret->n_allow);
    build_prefixes(b, "deny", m->deny, m->n_deny, &ret->deny, &ret->n_deny);
    build_ban(b, m->ban, ret);
    build_paths(b, m, ret);
}

mp_err mp_conf_xdp_environment(struct mp_conf *conf, struct mp_diag *diag, const char *interface,
                               const char *mode)
{
    bool has_mode = mode != NULL && mode[0] != '\0';
    struct mp_conf_xdp *x = conf->xdp;
    if (interface == NULL || interface[0] == '\0' || (x != NULL && x->n_interfaces > 0)) {
        return MP_OK; /* the file goes before */
    }
    if (x == NULL) {
        x = mp_arena_zalloc(&conf->arena, sizeof(*x));
        if (x == NULL) {
            return MP_FAIL(NOMEM);
        }
        set_defaults(x);
        x->pin_path = MP_STR(DEFAULT_PIN_PATH);
        x->state_file = MP_STR(DEFAULT_STATE_FILE);
        conf->xdp = x;
    }
    x->interfaces = mp_arena_zalloc(&conf->arena, sizeof(*x->interfaces));
    if (x->interfaces == NULL) {
        return MP_FAIL(NOMEM);
    }
    if (strlen(interface) >= IF_NAMESIZE) {
        return mp_diag_error(diag, MP_E_INVALID, 0, "XDP_INTERFACE", "write its name: eth0",
                             "\"%s\" is not a network interface", interface);
    }
    x->interfaces[x->n_interfaces++] = mp_arena_dup(&conf->arena, mp_str_c(interface));
    for (int i = 0; has_mode && !x->mode_given; i++) {
        if (modes[i] == NULL) {
            return mp_diag_error(diag, MP_E_INVALID, 0, "XDP_MODE", "use native, skb, hw or tcx",
                                 "\"%s\" is unknown", mode);
        }
        if (strcmp(modes[i], mode) == 0) {
            x->mode = (enum mp_conf_xdp_mode)i;
            break;
        }
    }
    return MP_OK;
}
