/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Lists of paths in configurations of filters, and how a request's path is held against them.
 *
 * Whoever is let in, or charged, by path must be sure that the service behind will read the path in
 * the same way. So a path is looked at twice: as it is, and in a plain form with all escapes
 * resolved, backslashes as slashes, ";parameters" gone, slashes merged and dot segments removed. A
 * rule that opens holds only when both forms match, a rule that closes when either does.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

/* "/a": /a and whatever is below /a/. "/a/" and "/a*": whatever begins with /a/ or /a. */
struct mp_path_rule {
    struct mp_str text; /* without the '*' */
    bool prefix;
};
/* NULL: *ret is the rule of this text (borrowed); else the cause. */
const char *mp_path_rule_parse(struct mp_str text, struct mp_path_rule *ret);
bool mp_path_rule_match(const struct mp_path_rule *r, struct mp_str path);

struct mp_guest_setup;
/* The rules of the field, or, when it is not given, the usual ones: /healthz, /metrics, /ready. */
struct mp_path_rule *mp_path_rules_setup(struct mp_guest_setup *s, const char *field,
                                         const struct mp_str *list, size_t n, bool given,
                                         uint32_t *ret_n);
bool mp_path_rules_match(const struct mp_path_rule *rules, uint32_t n, struct mp_str path);

struct mp_guest;
/* Both forms of the request's path match. */
bool mp_path_is_open(const struct mp_path_rule *rules, uint32_t n, struct mp_guest *g);

/* The part before '?'. */
struct mp_str mp_path_without_query(struct mp_str path);
/* Both forms of the path are surely the same. */
bool mp_path_is_plain(struct mp_str path);
/* The plain form; path without query, out: room for path.n + 1 bytes. False: it does not begin with
 * a slash. *ret_odd: it climbs above the root, where it stays then, or hides behind escapes of
 * escapes, all of which are resolved. Who knows how the service reads that: no rule that opens may
 * hold for it. */
bool mp_path_make_plain(struct mp_str path, char *out, struct mp_str *ret, bool *ret_odd);
