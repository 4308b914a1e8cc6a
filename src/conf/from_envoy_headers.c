/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Header additions and removals. */
#include "conf/build.h"

#define ACTION(value) ENVOY__CONFIG__CORE__V3__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__##value

/* What frames or routes a message is the proxy's to write: an addition could split or smuggle
 * requests. */
static const char *why_reserved(struct mp_str name)
{
    static const char *const framing[] = {"content-length",   "transfer-encoding",
                                          "connection",       "keep-alive",
                                          "upgrade",          "te",
                                          "proxy-connection", "trailer"};
    if (mp_str_eq(name, MP_STR("host"))) {
        return "use host_rewrite_literal";
    }
    for (size_t i = 0; i < MP_COUNTOF(framing); i++) {
        if (mp_str_eq(name, mp_str_c(framing[i]))) {
            return "the proxy writes it as the connection needs it";
        }
    }
    return NULL;
}

/* False when it is reported. */
static bool build_name(struct mp_conf_build *b, const char *sub, const char *z, struct mp_str *ret)
{
    if (z[0] == '\0') {
        mp_build_missing(b, sub, NULL, "the header name is missing");
        return false;
    }
    struct mp_str name = mp_conf_header_name(z, false, b->arena);
    if (!name.p) {
        (void)mp_build_error(b, sub, z[0] == ':' ? "pseudo headers cannot be changed here" : NULL,
                             "\"%s\" is not a header name", z);
        return false;
    }
    const char *why = why_reserved(name);
    if (why) {
        (void)mp_build_error(b, sub, why, "header \"%s\" cannot be added or removed", name.p);
        return false;
    }
    *ret = name;
    return true;
}

static bool build_add(struct mp_conf_build *b, const pb_header_option *m,
                      struct mp_conf_header_add *ret)
{
    static const enum mp_conf_append actions[] = {
        [ACTION(APPEND_IF_EXISTS_OR_ADD)] = MP_APPEND_IF_EXISTS_OR_ADD,
        [ACTION(ADD_IF_ABSENT)] = MP_ADD_IF_ABSENT,
        [ACTION(OVERWRITE_IF_EXISTS_OR_ADD)] = MP_OVERWRITE_OR_ADD,
        [ACTION(OVERWRITE_IF_EXISTS)] = MP_OVERWRITE_IF_EXISTS,
    };
    if (!m->header) {
        mp_build_missing(b, "header", NULL, "header is missing");
        return false;
    }
    if ((unsigned)m->append_action >= MP_COUNTOF(actions)) {
        (void)mp_build_error(b, "append_action", NULL, "value %d is not supported",
                             (int)m->append_action);
        return false;
    }
    ret->action = actions[m->append_action];
    if (m->append) {
        if (m->append_action != 0) {
            (void)mp_build_error(b, "append", "keep append_action",
                                 "append and append_action exclude each other");
        }
        ret->action = m->append->value ? MP_APPEND_IF_EXISTS_OR_ADD : MP_OVERWRITE_OR_ADD;
    }
    ret->keep_empty = m->keep_empty_value;
    bool ok = build_name(b, "header.key", m->header->key, &ret->name);
    ok &= mp_build_header_text(b, "header.value", m->header->value, true);
    ret->value = mp_build_str(b, m->header->value);
    return ok;
}

static void build_adds(struct mp_conf_build *b, const char *sub, pb_header_option **list, size_t n,
                       struct mp_conf_header_add **ret, uint32_t *ret_n)
{
    *ret = mp_build_take(b, n, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        size_t mark = mp_build_enter(b, "%s[%zu]", sub, i);
        *ret_n += build_add(b, list[i], &(*ret)[*ret_n]);
        mp_build_leave(b, mark);
    }
}

static void build_removes(struct mp_conf_build *b, const char *sub, char **list, size_t n,
                          struct mp_str **ret, uint32_t *ret_n)
{
    *ret = mp_build_take(b, n, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        size_t mark = mp_build_enter(b, "%s[%zu]", sub, i);
        *ret_n += build_name(b, NULL, list[i], &(*ret)[*ret_n]);
        mp_build_leave(b, mark);
    }
}

void mp_build_header_ops(struct mp_conf_build *b, const struct mp_build_header_fields *f,
                         struct mp_conf_header_ops *ret)
{
    build_adds(b, "request_headers_to_add", f->req_add, f->n_req_add, &ret->req_add,
               &ret->n_req_add);
    build_adds(b, "response_headers_to_add", f->resp_add, f->n_resp_add, &ret->resp_add,
               &ret->n_resp_add);
    build_removes(b, "request_headers_to_remove", f->req_remove, f->n_req_remove, &ret->req_remove,
                  &ret->n_req_remove);
    build_removes(b, "response_headers_to_remove", f->resp_remove, f->n_resp_remove,
                  &ret->resp_remove, &ret->n_resp_remove);
}
