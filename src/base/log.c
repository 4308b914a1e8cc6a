/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Text: 2026-01-31T03:55:00.123Z info event words key=value key="va lue"
 * JSON: {"ts":"2026-01-31T03:55:00.123Z","level":"info","event":"event words","key":"value"}
 *
 * A value can come from a peer, so it can never end its line or its quotes: quotes, backslashes,
 * control characters and invalid UTF-8 are escaped in both formats, and a cut line is still whole
 * (quotes closed; JSON valid, with "cut":true).
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

#define LINE_MAX_BYTES 2048
#define LINES_A_SECOND 10
/* What ends a cut line in the longer of the two formats. */
#define TAIL "...\",\"cut\":true}\n"
#define ROOM (LINE_MAX_BYTES - (sizeof(TAIL) - 1))

/* Sinks are immutable and kept until exit: a thread may be inside an old one. The list has one node
 * a distinct sink, so setting does not grow it without end. */
struct sink {
    void (*fn)(void *arg, const char *line, size_t n);
    void *arg;
    struct sink *older;
};

struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
    bool json;
    bool cut;    /* something is missing: nothing more is added */
    bool dotted; /* the cut is marked with "..." already */
};

enum mp_log_level mp_log_threshold = MP_LOG_INFO;
static bool use_json;
static uint64_t (*clock_fn)(void);
static struct sink *sink_now;
static struct sink *sinks;
static int out_fd = STDERR_FILENO;
static int out_kind = MP_LOG_TO_SHARED;
static uint64_t lost_all, lost_untold;

static const char *const level_names[] = {
    [MP_LOG_TRACE] = "trace",     [MP_LOG_DEBUG] = "debug", [MP_LOG_INFO] = "info",
    [MP_LOG_WARNING] = "warning", [MP_LOG_ERROR] = "error", [MP_LOG_CRITICAL] = "critical",
    [MP_LOG_OFF] = "off",
};

void mp_log_set_level(enum mp_log_level level)
{
    __atomic_store_n(&mp_log_threshold, level, __ATOMIC_RELAXED);
}

bool mp_log_level_parse(struct mp_str name, enum mp_log_level *ret)
{
    if (mp_str_eq(name, MP_STR("warn"))) {
        *ret = MP_LOG_WARNING;
        return true;
    }
    for (size_t i = 0; i < MP_COUNTOF(level_names); i++) {
        if (mp_str_eq(name, mp_str_c(level_names[i]))) {
            *ret = (enum mp_log_level)i;
            return true;
        }
    }
    return false;
}

const char *mp_log_level_name(enum mp_log_level level)
{
    return (size_t)level < MP_COUNTOF(level_names) ? level_names[level] : "unknown";
}

void mp_log_set_json(bool json)
{
    __atomic_store_n(&use_json, json, __ATOMIC_RELAXED);
}

void mp_log_set_sink(void (*fn)(void *arg, const char *line, size_t n), void *arg)
{
    struct sink *s = NULL;
    if (fn) {
        for (s = sinks; s && (s->fn != fn || s->arg != arg); s = s->older) {
        }
    }
    if (fn && !s) {
        s = mp_xmalloc(sizeof(*s));
        *s = (struct sink){fn, arg, sinks};
        sinks = s;
    }
    __atomic_store_n(&sink_now, s, __ATOMIC_RELEASE);
}

void mp_log_set_clock(uint64_t (*wall_ns)(void))
{
    __atomic_store_n(&clock_fn, wall_ns, __ATOMIC_RELAXED);
}

static uint64_t wall_now(void)
{
    uint64_t (*fn)(void) = __atomic_load_n(&clock_fn, __ATOMIC_RELAXED);
    if (fn) {
        return fn();
    }
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Adds all n bytes or none; after the first refusal nothing more is added. */
static bool add(struct line *l, const char *p, size_t n)
{
    if (l->cut || l->n + n > ROOM) {
        l->cut = true;
        return false;
    }
    memcpy(l->p + l->n, p, n);
    l->n += n;
    return true;
}

static bool add_c(struct line *l, const char *z)
{
    return add(l, z, strlen(z));
}

/* The first character of s as the text format shows it. */
static size_t text_escape(struct mp_str s, char out[8], size_t *ret_n)
{
    uint32_t cp;
    size_t used = mp_utf8_next(s, &cp);
    if (used == 0 || (used == 1 && mp_utf8_is_unsafe(cp))) {
        const char *names = "\nn\rr\tt";
        for (size_t i = 0; names[i]; i += 2) {
            if (s.p[0] == names[i]) {
                out[0] = '\\';
                out[1] = names[i + 1];
                *ret_n = 2;
                return 1;
            }
        }
        *ret_n = (size_t)snprintf(out, 8, "\\x%02x", (unsigned char)s.p[0]);
        return 1;
    }
    if (mp_utf8_is_unsafe(cp)) {
        *ret_n = (size_t)snprintf(out, 8, "\\u%04x", (unsigned)cp & 0xffff);
        return used;
    }
    *ret_n = 0;
    if (cp == '"' || cp == '\\') {
        out[(*ret_n)++] = '\\';
    }
    memcpy(out + *ret_n, s.p, used);
    *ret_n += used;
    return used;
}

/* The text inside quotes, or what needs none. */
static void add_escaped(struct line *l, struct mp_str s)
{
    while (s.n > 0) {
        char out[8];
        size_t n;
        size_t used = l->json ? mp_json_escape(s, out, &n) : text_escape(s, out, &n);
        if (!add(l, out, n)) {
            return;
        }
        s = mp_str(s.p + used, s.n - used);
    }
}

static bool is_plain(struct mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') {
            return false;
        }
    }
    return s.n > 0;
}

/* Marks the cut inside a value. Fits always: nothing else was added since the cut. */
static void add_dots(struct line *l)
{
    memcpy(l->p + l->n, "...", 3);
    l->n += 3;
    l->dotted = true;
}

/* A string, in quotes where the format wants them. */
static void add_value(struct line *l, struct mp_str s)
{
    bool quoted = l->json || !is_plain(s);
    if (quoted && !add_c(l, "\"")) {
        return;
    }
    add_escaped(l, s);
    if (l->cut) {
        add_dots(l);
    }
    if (quoted) {
        /* The reserve holds it when the value was cut, or when it fills the room exactly. */
        l->p[l->n++] = '"';
    }
}

static void add_number(struct line *l, const struct mp_kv *kv)
{
    char text[40];
    switch (kv->kind) {
    case MP_KV_I64:
        snprintf(text, sizeof(text), "%" PRId64, kv->i);
        break;
    case MP_KV_U64:
        snprintf(text, sizeof(text), "%" PRIu64, kv->u);
        break;
    case MP_KV_F64:
        /* JSON has no word for these. */
        if (!isfinite(kv->f) && l->json) {
            snprintf(text, sizeof(text), "null");
            break;
        }
        snprintf(text, sizeof(text), "%.9g", kv->f);
        break;
    case MP_KV_BOOL:
        snprintf(text, sizeof(text), "%s", kv->b ? "true" : "false");
        break;
    case MP_KV_STR:
        return;
    }
    add_c(l, text);
}

static void add_field(struct line *l, const struct mp_kv *kv)
{
    if (l->cut) {
        return;
    }
    size_t start = l->n;
    add_c(l, l->json ? ",\"" : " ");
    add_escaped(l, mp_str_c(kv->key));
    add_c(l, l->json ? "\":" : "=");
    bool key_fits = !l->cut;
    size_t value_at = l->n;
    if (key_fits && kv->kind == MP_KV_STR) {
        add_value(l, kv->s);
    }
    if (key_fits && kv->kind != MP_KV_STR) {
        add_number(l, kv);
    }
    if (l->cut && (!key_fits || l->n == value_at)) {
        l->n = start; /* a key without any of its value says nothing */
    }
}

/* RFC 3339 in UTC. gmtime_r is not used because glibc takes a process-wide lock in it. */
static size_t format_time(char out[32], uint64_t ns)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 366};
    uint64_t secs = ns / 1000000000u;
    unsigned day = (unsigned)(secs / 86400), left = (unsigned)(secs % 86400);
    unsigned year = 1970;
    bool leap = false;
    for (;;) {
        leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        unsigned days = leap ? 366 : 365;
        if (day < days) {
            break;
        }
        day -= days;
        year++;
    }
    unsigned month = 1;
    while (month < 12 && day >= before[month] + (leap && month >= 2 ? 1u : 0u)) {
        month++;
    }
    day -= before[month - 1] + (leap && month > 2 ? 1u : 0u);
    int n = snprintf(out, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year, month, day + 1,
                     left / 3600, left / 60 % 60, left % 60, (unsigned)(ns / 1000000u % 1000));
    return (size_t)n;
}

/* False when the site had its share of this second. */
static bool site_admits(struct mp_log_site *site, uint64_t now_ns, uint64_t *ret_suppressed)
{
    uint64_t second = now_ns / 1000000000u;
    uint64_t seen = __atomic_load_n(&site->window, __ATOMIC_RELAXED);
    for (;;) {
        uint64_t lines = seen >> 8 == second ? seen & 0xff : 0;
        if (lines >= LINES_A_SECOND) {
            __atomic_fetch_add(&site->suppressed, 1, __ATOMIC_RELAXED);
            return false;
        }
        if (__atomic_compare_exchange_n(&site->window, &seen, second << 8 | (lines + 1), true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            *ret_suppressed = __atomic_exchange_n(&site->suppressed, 0, __ATOMIC_RELAXED);
            return true;
        }
    }
}

/* One try. A pipe that has room takes a whole line (PIPE_BUF), and poll says whether it has. */
static ssize_t write_some(int fd, enum mp_log_output kind, const char *p, size_t n)
{
    if (kind == MP_LOG_TO_SOCKET) {
        return send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    if (kind == MP_LOG_TO_SHARED && poll(&room, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, p, n);
}

/* False: nobody took it. Whoever logs never waits for who reads. */
static bool write_out(const char *line, size_t n)
{
    int fd = __atomic_load_n(&out_fd, __ATOMIC_RELAXED);
    enum mp_log_output kind = (enum mp_log_output)__atomic_load_n(&out_kind, __ATOMIC_RELAXED);
    while (n > 0) {
        ssize_t done = write_some(fd, kind, line, n);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return false;
        }
        line += done;
        n -= (size_t)done;
    }
    return true;
}

void mp_log_set_output(int fd, enum mp_log_output kind)
{
    __atomic_store_n(&out_kind, (int)kind, __ATOMIC_RELAXED);
    __atomic_store_n(&out_fd, fd, __ATOMIC_RELAXED);
}

uint64_t mp_log_lost(void)
{
    return __atomic_load_n(&lost_all, __ATOMIC_RELAXED);
}

int mp_log_output_fd(void)
{
    return __atomic_load_n(&out_fd, __ATOMIC_RELAXED);
}

/* lost_before: lines that this one tells of. */
static void give_to_sink(const char *line, size_t n, uint64_t lost_before)
{
    const struct sink *s = __atomic_load_n(&sink_now, __ATOMIC_ACQUIRE);
    if (s) {
        s->fn(s->arg, line, n);
        return;
    }
    if (!write_out(line, n)) {
        __atomic_fetch_add(&lost_untold, lost_before + 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&lost_all, 1, __ATOMIC_RELAXED);
    }
}

static void start_line(struct line *l, uint64_t now_ns, enum mp_log_level level, const char *event)
{
    char ts[32];
    size_t ts_n = format_time(ts, now_ns);
    add_c(l, l->json ? "{\"ts\":\"" : "");
    add(l, ts, ts_n);
    add_c(l, l->json ? "\",\"level\":\"" : " ");
    add_c(l, mp_log_level_name(level));
    add_c(l, l->json ? "\",\"event\":" : " ");
    if (l->json) {
        add_value(l, mp_str_c(event));
        return;
    }
    add_escaped(l, mp_str_c(event));
}

static void end_line(struct line *l)
{
    const char *tail = "\n";
    if (l->json) {
        tail = l->cut ? ",\"cut\":true}\n" : "}\n";
    }
    if (!l->json && l->cut && !l->dotted) {
        tail = " ...\n"; /* whole fields are missing */
    }
    memcpy(l->p + l->n, tail, strlen(tail));
    l->n += strlen(tail);
}

/* "src/core/conn.c" of a longer path: its last two parts. */
static struct mp_str short_file(const char *file)
{
    size_t start = strlen(file);
    for (int slashes = 0; start > 0; start--) {
        if (file[start - 1] == '/' && ++slashes == 2) {
            break;
        }
    }
    return mp_str_c(file + start);
}

void mp_log_emit(struct mp_log_site *site, enum mp_log_level level, const char *file, int line,
                 const char *event, const struct mp_kv *kvs, size_t n)
{
    uint64_t now_ns = wall_now();
    uint64_t suppressed = 0;
    if (site && !site_admits(site, now_ns, &suppressed)) {
        return;
    }
    struct line l;
    l.n = 0;
    l.cut = l.dotted = false;
    l.json = __atomic_load_n(&use_json, __ATOMIC_RELAXED);
    start_line(&l, now_ns, level, event);
    if (suppressed > 0) {
        add_field(&l, &kv_u64("suppressed", suppressed));
    }
    uint64_t lost = __atomic_load_n(&lost_untold, __ATOMIC_RELAXED);
    if (MP_UNLIKELY(lost > 0)) {
        lost = __atomic_exchange_n(&lost_untold, 0, __ATOMIC_RELAXED);
        add_field(&l, &kv_u64("lines_lost", lost));
    }
    if (level <= MP_LOG_DEBUG) {
        add_field(&l, &kv_str("file", short_file(file)));
        add_field(&l, &kv_i64("line", line));
    }
    for (size_t i = 0; i < n; i++) {
        add_field(&l, &kvs[i]);
    }
    end_line(&l);
    MP_ASSERT(l.n <= sizeof(l.p));
    give_to_sink(l.p, l.n, lost);
}
