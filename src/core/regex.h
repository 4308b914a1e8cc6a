/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Regular expressions of the configuration (Envoy's safe_regex), matched against bytes of a peer.
 *
 * Compiled once by the builder; matching needs no memory but the stack and may happen on any
 * thread. Every match is bounded: past the limit it fails, which callers must treat as a refusal,
 * not as "no match", or a peer could slip past a rule by making it expensive.
 *
 * Syntax is PCRE2's, without what RE2 lacks and cannot be bounded (back references, \C). Bytes, not
 * characters.
 */
#pragma once
#include <stdbool.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct mp_regex;
enum mp_regex_result { MP_REGEX_NO, MP_REGEX_YES, MP_REGEX_FAILED };

#define MP_REGEX_PATTERN_MAX 4096
/* Heap. whole: the expression must match all of the text. ret_cause: what is wrong, in the arena or
 * static. */
MP_MUST_USE mp_err mp_regex_new(struct mp_str pattern, bool whole, struct mp_arena *arena,
                                struct mp_regex **ret, const char **ret_cause);
struct mp_regex *mp_regex_free(struct mp_regex *re);

enum mp_regex_result mp_regex_match(const struct mp_regex *re, struct mp_str text);

/* "\0" to "\9" stand for groups, "\\" for a backslash. Checks that the groups exist. */
MP_MUST_USE mp_err mp_regex_check_substitution(const struct mp_regex *re,
                                               struct mp_str substitution, struct mp_arena *arena,
                                               const char **ret_cause);
/* Replaces all matches, in the arena; the same bytes when nothing matches. LIMIT: arena or match
 * limit. */
MP_MUST_USE mp_err mp_regex_replace(const struct mp_regex *re, struct mp_str text,
                                    struct mp_str substitution, struct mp_arena *arena,
                                    struct mp_str *ret);
