/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Structured log: constant event text plus typed fields. Callers at the top of a call chain log
 * once; base, codec, io and conf do not log. Each call site is limited to 10 lines a second (the
 * rest is counted and reported with the next line that passes).
 *
 * Any thread. The line is formatted into a stack buffer (2 KiB, cut with "...") and given to the
 * sink; the default sink writes to standard error.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/str.h"

enum mp_log_level {
    MP_LOG_TRACE,
    MP_LOG_DEBUG,
    MP_LOG_INFO,
    MP_LOG_WARNING,
    MP_LOG_ERROR,
    MP_LOG_CRITICAL,
    MP_LOG_OFF
};

struct mp_kv {
    const char *key;
    enum { MP_KV_STR, MP_KV_I64, MP_KV_U64, MP_KV_F64, MP_KV_BOOL } kind;
    union {
        struct mp_str s;
        int64_t i;
        uint64_t u;
        double f;
        bool b;
    };
};

#define kv_str(k, v)  ((struct mp_kv){.key = (k), .kind = MP_KV_STR, .s = (v)})
#define kv_c(k, v)    ((struct mp_kv){.key = (k), .kind = MP_KV_STR, .s = mp_str_c(v)})
#define kv_i64(k, v)  ((struct mp_kv){.key = (k), .kind = MP_KV_I64, .i = (v)})
#define kv_u64(k, v)  ((struct mp_kv){.key = (k), .kind = MP_KV_U64, .u = (v)})
#define kv_f64(k, v)  ((struct mp_kv){.key = (k), .kind = MP_KV_F64, .f = (v)})
#define kv_bool(k, v) ((struct mp_kv){.key = (k), .kind = MP_KV_BOOL, .b = (v)})

struct mp_log_site {
    uint64_t window;     /* second << 8 | lines in it: one word, so that the limit is exact */
    uint64_t suppressed; /* since the last line that passed */
};

/* site NULL: not limited. The threshold is the caller's to check. */
void mp_log_emit(struct mp_log_site *site, enum mp_log_level level, const char *file, int line,
                 const char *event, const struct mp_kv *kvs, size_t n);
extern enum mp_log_level mp_log_threshold; /* read with a relaxed load; set with mp_log_set_level */

#define mp_log(lv, event_, ...)                                                     \
    do {                                                                            \
        if ((lv) >= __atomic_load_n(&mp_log_threshold, __ATOMIC_RELAXED)) {         \
            static struct mp_log_site mp_site_;                                     \
            const struct mp_kv mp_kvs_[] = {{0}, ##__VA_ARGS__};                    \
            mp_log_emit(&mp_site_, (lv), __FILE__, __LINE__, (event_), mp_kvs_ + 1, \
                        MP_COUNTOF(mp_kvs_) - 1);                                   \
        }                                                                           \
    } while (0)

void mp_log_set_level(enum mp_log_level level);
/* "trace" ... "critical", "off"; also "warn". False when unknown. */
bool mp_log_level_parse(struct mp_str name, enum mp_log_level *ret);
const char *mp_log_level_name(enum mp_log_level level);
void mp_log_set_json(bool json);
/* line ends with a newline. The sink must be callable from any thread. NULL restores the default.
 * Set by one thread. */
void mp_log_set_sink(void (*sink)(void *arg, const char *line, size_t n), void *arg);
/* Where the default sink writes; at first standard error, shared with others. A line that is not
 * taken at once is lost and counted: nobody waits for a reader that has stopped. */
enum mp_log_output {
    MP_LOG_TO_OWN,    /* opened for us alone: a file, or O_NONBLOCK */
    MP_LOG_TO_SHARED, /* its flags belong to others too: asked with poll before each line */
    MP_LOG_TO_SOCKET
};
void mp_log_set_output(int fd, enum mp_log_output kind);
int mp_log_output_fd(void);
uint64_t mp_log_lost(void); /* lines, since start */
/* Wall clock in ns for time stamps; the simulation replaces it. NULL restores the system's. */
void mp_log_set_clock(uint64_t (*wall_ns)(void));
