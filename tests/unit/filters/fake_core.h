/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* core/filter.h for tests of filters: one stream made by hand, one filter, real stats. */
#pragma once
#include "base/diag.h"
#include "core/filter.h"
#include "core/filter_stats.h"
#include "filters/registry.h"

#define FC_WRITERS 2

struct mp_stream {
    struct mp_arena arena;
    struct mp_req_head req;
    struct mp_resp_head resp;
    struct mp_hdrs trailers;
    bool replied;
    unsigned replies;
    struct mp_str body;
    const char *details;
    uint32_t marks, writer;
    uint64_t start_ns, bytes_in, bytes_out;
    struct mp_filter *filter;
};

/* The world around all streams. */
struct fc_world {
    uint64_t wall_ns, now_ns, random;
    bool has_proxies;
    uint32_t proxies;
    struct mp_stat_store *store;
    struct mp_filter_stats *stats;
    struct mp_filter_stats_local *local[FC_WRITERS];
};
extern struct fc_world fc;
void fc_init(void);
void fc_fini(void);

/* A configuration in JSON or YAML of one of the filters. */
struct fc_conf {
    struct mp_arena arena;
    struct mp_diag diag;
    const struct mp_conf_filter_type *type;
    void *parsed; /* NULL: refused */
};
bool fc_conf_load(struct fc_conf *c, const struct mp_conf_filter_type *type, struct mp_str text);
void fc_conf_free(struct fc_conf *c);
/* As after a publication with this one configuration. */
void fc_publish(const struct fc_conf *c);
/* As after one without the filter. */
void fc_publish_none(const struct mp_conf_filter_type *type);

struct mp_stream *fc_stream_new(const struct fc_conf *c, const char *method, const char *path,
                                const char *host);
void fc_stream_free(struct mp_stream *s);
void fc_field(struct mp_stream *s, struct mp_hdrs *h, const char *name, const char *value);
/* Value of the only field of that name; NULL: absent, or more than one. */
const char *fc_value(struct mp_stream *s, const struct mp_hdrs *h, const char *name);

/* A stat by the name that /stats shows; -1: there is none. Of histograms the count. */
int64_t fc_stat(const char *name);
