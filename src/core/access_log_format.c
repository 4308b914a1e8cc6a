/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "codec/hdr.h"
#include "core/access_log_int.h"
#include "core/civil.h"
#include "core/stream.h"

/* What a value takes at least: a number, null or an empty string. */
#define VALUE_MIN MP_U64_DIGITS
#define FIXED_MAX (MP_ALOG_LINE_MAX / 2)

/* ---- building ---- */

static mp_err compile(struct mp_str format, struct mp_arena *arena, struct mp_diag *diag,
                      const struct mp_subst **ret)
{
    const char *cause = "";
    mp_err err = mp_subst_compile(format, arena, ret, &cause);
    if (mp_is_err(err)) {
        return mp_diag_error(diag, err.code, 0, NULL, NULL, "access log format: %s", cause);
    }
    return MP_OK;
}

static mp_err build_key(const struct mp_conf_json_key *conf, bool first, struct mp_arena *arena,
                        struct mp_diag *diag, struct alog_key *ret)
{
    MP_TRY(compile(conf->format, arena, diag, &ret->value));
    ret->number = mp_subst_is_number(ret->value);
    struct mp_sb sb;
    mp_sb_init(&sb, FIXED_MAX);
    mp_sb_add_char(&sb, first ? '{' : ',');
    mp_sb_add_json(&sb, conf->key);
    mp_sb_add_char(&sb, ':');
    ret->lead = sb.overflow ? mp_str(NULL, 0) : mp_arena_dup(arena, mp_sb_str(&sb));
    mp_sb_fini(&sb);
    if (ret->lead.p == NULL) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL,
                             "access log format: a key is too long");
    }
    return MP_OK;
}

static mp_err build_json(const struct mp_conf_alog *conf, struct mp_arena *arena,
                         struct mp_diag *diag, struct alog_format *f)
{
    f->form = ALOG_JSON;
    f->omit_empty = conf->omit_empty;
    f->n_keys = conf->n_json;
    f->keys = mp_arena_zalloc(arena, conf->n_json * sizeof(*f->keys));
    if (f->keys == NULL) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, NULL, "access log format: too many keys");
    }
    for (uint32_t i = 0; i < conf->n_json; i++) {
        MP_TRY(build_key(&conf->json[i], i == 0, arena, diag, &f->keys[i]));
    }
    size_t reserve = 2; /* brace and newline */
    for (uint32_t i = conf->n_json; i-- > 0;) {
        f->keys[i].reserve = reserve;
        reserve += f->keys[i].lead.n + VALUE_MIN;
    }
    if (reserve > FIXED_MAX) {
        return mp_diag_error(diag, MP_E_LIMIT, 0, NULL, "use fewer or shorter keys",
                             "access log format: the keys alone take %zu bytes, at most %d fit",
                             reserve, FIXED_MAX);
    }
    return MP_OK;
}

mp_err mp_alog_format_build(const struct mp_conf_alog *conf, struct mp_arena *arena,
                            struct mp_diag *diag, struct alog_format *ret)
{
    *ret = (struct alog_format){.form = ALOG_DEFAULT};
    if (conf->default_json) {
        return MP_OK;
    }
    if (conf->n_json > 0) {
        return build_json(conf, arena, diag, ret);
    }
    ret->form = ALOG_TEXT;
    ret->omit_empty = conf->omit_empty;
    return compile(conf->text, arena, diag, &ret->text);
}

/* ---- writing ---- */

struct line {
    char *p, *end;
    bool cut; /* a value was cut for want of room, not because it passes its own limit */
};

#define PUT_LITERAL(l, text) ((l)->p = (char *)mempcpy((l)->p, (text), sizeof(text) - 1))
#define EACH_BYTE(x)         ((x)*UINT64_C(0x0101010101010101))

/* Some of the eight bytes may need an escape: controls, quote, backslash, DEL and everything that
 * is not ASCII. */
static inline bool needs_look(uint64_t x)
{
    uint64_t quote = x ^ EACH_BYTE('"'), backslash = x ^ EACH_BYTE('\\');
    uint64_t found = (x - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (backslash - EACH_BYTE(1)) |
                     (x + EACH_BYTE(1)) | x;
    return (found & EACH_BYTE(0x80)) != 0;
}

static inline bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* A JSON string with its quotes in at most room bytes (2 or more). */
static void put_string(struct line *l, struct mp_str s, size_t room)
{
    bool short_of_room = room < MP_ALOG_VALUE_MAX + 2;
    char *p = l->p, *end = p + (short_of_room ? room : MP_ALOG_VALUE_MAX + 2) - 1;
    *p++ = '"';
    while (s.n > 0) {
        uint64_t eight;
        if (s.n >= 8 && end - p >= 8) {
            memcpy(&eight, s.p, 8);
            if (!needs_look(eight)) {
                memcpy(p, &eight, 8);
                p += 8;
                s = mp_str(s.p + 8, s.n - 8);
                continue;
            }
        }
        char escaped[MP_JSON_ESCAPE_MAX] = {s.p[0]};
        size_t n = 1, used = 1;
        if (!is_plain((uint8_t)s.p[0])) {
            used = mp_json_escape(s, escaped, &n);
        }
        if (n > (size_t)(end - p)) {
            l->cut |= short_of_room;
            break;
        }
        if (n == 1) {
            *p++ = escaped[0];
        } else {
            p = mempcpy(p, escaped, n);
        }
        s = mp_str(s.p + used, s.n - used);
    }
    *p++ = '"';
    l->p = p;
}

static uint64_t duration_ms(const struct mp_stream *s)
{
    return s->end_ns > s->start_ns ? (s->end_ns - s->start_ns) / 1000000 : 0;
}

/* The form with eight keys. FIXED holds everything but the three strings. */
#define FIXED 256
static void put_default(struct line *l, const struct mp_stream *s)
{
    const struct mp_hdr *agent = mp_hdrs_maybe(&s->req.hdrs, MP_HDR_USER_AGENT)
                                     ? mp_hdrs_get(&s->req.hdrs, MP_HDR_USER_AGENT)
                                     : NULL;
    size_t room = (size_t)(l->end - l->p) - FIXED;
    PUT_LITERAL(l, "{\"start_time\":\"");
    mp_rfc3339_ms(s->start_wall_ns, l->p);
    l->p += MP_RFC3339_MS_SIZE;
    PUT_LITERAL(l, "\",\"method\":");
    char *before = l->p;
    put_string(l, s->req.method_name, room - 4);
    room -= (size_t)(l->p - before);
    PUT_LITERAL(l, ",\"path\":");
    before = l->p;
    put_string(l, s->req.path, room - 2);
    room -= (size_t)(l->p - before);
    PUT_LITERAL(l, ",\"response_code\":");
    l->p = mp_put_u64(l->p, s->resp != NULL ? s->resp->status : 0);
    PUT_LITERAL(l, ",\"bytes_sent\":");
    l->p = mp_put_u64(l->p, s->bytes_out);
    PUT_LITERAL(l, ",\"bytes_received\":");
    l->p = mp_put_u64(l->p, s->bytes_in);
    PUT_LITERAL(l, ",\"duration\":");
    l->p = mp_put_u64(l->p, duration_ms(s));
    PUT_LITERAL(l, ",\"user_agent\":");
    put_string(l, agent != NULL ? mp_hdr_value(agent) : MP_STR(""), room);
    PUT_LITERAL(l, "}\n");
}

static void put_text(struct line *l, const struct alog_format *f, const struct mp_stream *s)
{
    size_t room = (size_t)(l->end - l->p) - 1;
    size_t n = mp_subst_eval(f->text, s, l->p, room, f->omit_empty);
    l->cut = n == room;
    l->p += n;
    if (n == 0 || l->p[-1] != '\n') {
        *l->p++ = '\n';
    }
}

static void put_value(struct line *l, const struct alog_key *k, const struct mp_stream *s,
                      bool omit_empty)
{
    size_t room = (size_t)(l->end - l->p) - k->reserve;
    if (mp_subst_is_absent(k->value, s)) {
        PUT_LITERAL(l, "null");
        return;
    }
    if (k->number) {
        l->p += mp_subst_eval(k->value, s, l->p, room, omit_empty);
        return;
    }
    char text[MP_ALOG_VALUE_MAX];
    size_t n = mp_subst_eval(k->value, s, text, sizeof(text), omit_empty);
    put_string(l, mp_str(text, n), room);
}

static void put_json(struct line *l, const struct alog_format *f, const struct mp_stream *s)
{
    bool first = true;
    for (uint32_t i = 0; i < f->n_keys; i++) {
        const struct alog_key *k = &f->keys[i];
        if (f->omit_empty && mp_subst_is_absent(k->value, s)) {
            continue;
        }
        char *lead = l->p;
        l->p = mempcpy(l->p, k->lead.p, k->lead.n);
        *lead = first ? '{' : ',';
        first = false;
        put_value(l, k, s, f->omit_empty);
    }
    if (first) {
        PUT_LITERAL(l, "{");
    }
    PUT_LITERAL(l, "}\n");
}

/* Bytes without which nothing can be tried. */
static size_t least(const struct alog_format *f)
{
    if (f->form == ALOG_JSON) {
        return f->keys[0].lead.n + VALUE_MIN + f->keys[0].reserve;
    }
    return f->form == ALOG_DEFAULT ? FIXED + 6 : 2;
}

size_t mp_alog_format(const struct alog_format *f, const struct mp_stream *s, char *out, size_t cap)
{
    if (cap < least(f)) {
        return 0;
    }
    struct line l = {out, out + cap, false};
    switch (f->form) {
    case ALOG_DEFAULT:
        put_default(&l, s);
        break;
    case ALOG_TEXT:
        put_text(&l, f, s);
        break;
    case ALOG_JSON:
        put_json(&l, f, s);
        break;
    }
    return l.cut && cap < MP_ALOG_LINE_MAX ? 0 : (size_t)(l.p - out);
}
