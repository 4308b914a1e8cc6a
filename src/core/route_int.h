/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The compiled form of a route table: made by route_build.c, read by route.c and route_match.c.
 * Immutable. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/map.h"
#include "core/regex.h"
#include "core/route.h"

/* What a condition looks at: a field, a part of the start line, or a query parameter. */
enum route_subject {
    ROUTE_FIELD,
    ROUTE_METHOD,
    ROUTE_PATH,
    ROUTE_AUTHORITY,
    ROUTE_SCHEME,
    ROUTE_QUERY
};
struct route_condition {
    const struct mp_conf_header_match *conf;
    const struct mp_regex *re; /* MP_MATCH_REGEX */
    uint8_t subject;           /* enum route_subject */
    uint8_t id;                /* enum mp_hdr_id of a field */
};

struct route_entry {
    struct mp_route r;                  /* first */
    const struct mp_regex *path_re;     /* MP_PATH_REGEX */
    const struct mp_regex *rewrite_re;  /* regex_rewrite */
    struct route_condition *conditions; /* headers, then query parameters */
    uint32_t n_conditions;
    uint32_t fraction_millionths;
};

/* A literal path. All literals that are prefixes of one path lie on one chain of parent links. */
struct route_node {
    struct mp_str text;
    int32_t parent;     /* longest other literal that is a prefix of this one; -1: none */
    uint32_t order_min; /* least order here and at all ancestors: when a better route is known, the
                           walk ends */
    uint32_t first, n;  /* in mp_vhost.by_node, ascending order */
};

struct mp_vhost {
    const struct mp_conf_vhost *conf;
    struct route_node *nodes; /* sorted by bytes */
    uint32_t n_nodes;
    struct route_entry **by_node;
    struct route_entry **irregular; /* regex, ignored case, CONNECT; ascending order */
    uint32_t n_irregular;
    struct route_entry *tls_redirect; /* NULL: plain HTTP is welcome */
};

/* Domains with one wildcard: by the literal part, longest first. */
struct route_affixes {
    struct mp_map hosts; /* literal part -> struct mp_vhost */
    uint16_t *lengths;   /* that occur, descending */
    uint32_t n_lengths;
};

struct route_regex {
    struct mp_regex *re;
    struct route_regex *next;
};

struct mp_route_index {
    struct mp_arena arena;
    struct mp_map exact;
    struct route_affixes suffixes, prefixes;
    struct mp_vhost *any; /* "*" */
    bool only_any;        /* the host need not be looked at */
    bool ignore_port;
    struct route_regex *regexes;
    struct mp_obj *keep;
};

/* A path without its query. */
struct route_request {
    const struct mp_req_head *head;
    struct mp_str path, query;
    bool has_query;
};
/* route_match.c. FAILED: undecided within the limits. */
enum mp_regex_result mp_route_conditions_hold(const struct route_entry *e,
                                              const struct route_request *q);
