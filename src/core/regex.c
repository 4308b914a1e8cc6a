/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* PCRE2 wants memory for the state of a match. It gets a piece of the caller's stack through an
 * allocator that only counts up: so matching is thread-safe, takes no lock and never reaches the
 * heap. With the JIT (the usual case) that is some hundred bytes; the interpreter, used where
 * executable memory is forbidden, needs its frames as well.
 */
#include "core/regex.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/assert.h"
#include "base/mem.h"

#define GROUPS_MAX     10     /* \0 to \9 */
#define MATCH_LIMIT    100000 /* about a millisecond */
#define STATE_JIT      1024
#define STATE_FRAMES   (96 * 1024)
#define FRAMES_KIB_MAX 64

struct mp_regex {
    pcre2_code *code;
    pcre2_match_context *limits;
    uint32_t groups;
    bool jit;
};

struct stack_memory {
    char *cur, *end;
};

static void *stack_alloc(size_t n, void *arg)
{
    struct stack_memory *m = arg;
    n = (n + 15) & ~(size_t)15;
    if (n > (size_t)(m->end - m->cur)) {
        return NULL;
    }
    char *p = m->cur;
    m->cur += n;
    return p;
}

static void stack_free(void *p, void *arg)
{
}

static mp_err compile_error(int code, size_t offset, struct mp_arena *arena, const char **ret_cause)
{
    PCRE2_UCHAR text[200];
    if (pcre2_get_error_message(code, text, sizeof(text)) < 0) {
        text[0] = '\0';
    }
    *ret_cause = mp_arena_printf(arena, "%s at offset %zu", (const char *)text, offset);
    return MP_FAIL(SYNTAX);
}

static mp_err compile(struct mp_regex *re, struct mp_str pattern, bool whole,
                      struct mp_arena *arena, const char **ret_cause)
{
    pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
    MP_ASSERT(cc != NULL);
    pcre2_set_max_pattern_length(cc, MP_REGEX_PATTERN_MAX);
    pcre2_set_parens_nest_limit(cc, 100);
    uint32_t options =
        PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
    if (whole) {
        options |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    }
    int error;
    size_t offset;
    re->code = pcre2_compile((PCRE2_SPTR)(pattern.p ? pattern.p : ""), pattern.n, options, &error,
                             &offset, cc);
    pcre2_compile_context_free(cc);
    if (re->code == NULL) {
        return compile_error(error, offset, arena, ret_cause);
    }
    uint32_t back_references = 0;
    pcre2_pattern_info(re->code, PCRE2_INFO_BACKREFMAX, &back_references);
    pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &re->groups);
    if (back_references > 0) {
        *ret_cause = "back references are not supported";
        return MP_FAIL(UNSUPPORTED);
    }
    /* It also succeeds without code, when the pattern says (*NO_JIT). */
    size_t jit_size = 0;
    re->jit = pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) == 0 &&
              pcre2_pattern_info(re->code, PCRE2_INFO_JITSIZE, &jit_size) == 0 && jit_size > 0;
    re->limits = pcre2_match_context_create(NULL);
    MP_ASSERT(re->limits != NULL);
    pcre2_set_match_limit(re->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(re->limits, FRAMES_KIB_MAX);
    return MP_OK;
}

mp_err mp_regex_new(struct mp_str pattern, bool whole, struct mp_arena *arena,
                    struct mp_regex **ret, const char **ret_cause)
{
    struct mp_regex *re = mp_xcalloc(1, sizeof(*re));
    mp_err err = compile(re, pattern, whole, arena, ret_cause);
    if (mp_is_err(err)) {
        mp_regex_free(re);
        return err;
    }
    *ret = re;
    return MP_OK;
}

struct mp_regex *mp_regex_free(struct mp_regex *re)
{
    if (re != NULL) {
        pcre2_match_context_free(re->limits);
        pcre2_code_free(re->code);
        free(re);
    }
    return NULL;
}

/* Groups go to ret_at as pairs of start and end; their number is returned, 0 without a match,
 * negative on failure. */
static int match_in(const struct mp_regex *re, struct mp_str text, size_t from,
                    struct stack_memory *memory, uint32_t pairs, size_t *ret_at)
{
    pcre2_general_context *gc = pcre2_general_context_create(stack_alloc, stack_free, memory);
    pcre2_match_data *md = gc != NULL ? pcre2_match_data_create(pairs, gc) : NULL;
    MP_ASSERT(md != NULL);
    /* A NULL text is refused by older versions even when it is empty. */
    PCRE2_SPTR p = (PCRE2_SPTR)(text.p != NULL ? text.p : "");
    int n = re->jit ? pcre2_jit_match(re->code, p, text.n, from, 0, md, re->limits)
                    : pcre2_match(re->code, p, text.n, from, 0, md, re->limits);
    if (n == PCRE2_ERROR_NOMATCH) {
        return 0;
    }
    if (n < 0) {
        return -1;
    }
    /* 0: there are more groups than pairs. */
    uint32_t filled = n == 0 ? pairs : (uint32_t)n;
    memcpy(ret_at, pcre2_get_ovector_pointer(md), filled * 2 * sizeof(*ret_at));
    return (int)filled;
}

static __attribute__((noinline)) int match_interpreted(const struct mp_regex *re,
                                                       struct mp_str text, size_t from,
                                                       uint32_t pairs, size_t *ret_at)
{
    char state[STATE_FRAMES] __attribute__((aligned(16)));
    struct stack_memory memory = {state, state + sizeof(state)};
    return match_in(re, text, from, &memory, pairs, ret_at);
}

static int match(const struct mp_regex *re, struct mp_str text, size_t from, uint32_t pairs,
                 size_t *ret_at)
{
    if (!re->jit) {
        return match_interpreted(re, text, from, pairs, ret_at);
    }
    char state[STATE_JIT] __attribute__((aligned(16)));
    struct stack_memory memory = {state, state + sizeof(state)};
    return match_in(re, text, from, &memory, pairs, ret_at);
}

enum mp_regex_result mp_regex_match(const struct mp_regex *re, struct mp_str text)
{
    size_t at[2];
    int n = match(re, text, 0, 1, at);
    if (n < 0) {
        return MP_REGEX_FAILED;
    }
    return n > 0 ? MP_REGEX_YES : MP_REGEX_NO;
}

mp_err mp_regex_check_substitution(const struct mp_regex *re, struct mp_str substitution,
                                   struct mp_arena *arena, const char **ret_cause)
{
    for (size_t i = 0; i < substitution.n; i++) {
        if (substitution.p[i] != '\\') {
            continue;
        }
        char c = ++i < substitution.n ? substitution.p[i] : '\0';
        if (c != '\\' && (c < '0' || c > '9')) {
            *ret_cause = "a backslash must be followed by a digit or a backslash";
            return MP_FAIL(SYNTAX);
        }
        if (c != '\\' && (uint32_t)(c - '0') > re->groups) {
            *ret_cause =
                mp_arena_printf(arena, "\\%c: the expression has %u groups", c, re->groups);
            return MP_FAIL(INVALID);
        }
    }
    return MP_OK;
}

/* Where a replacement goes; p NULL: only counted. */
struct out {
    char *p;
    size_t n;
};

static void put(struct out *o, const char *p, size_t n)
{
    if (o->p != NULL && n > 0) {
        memcpy(o->p + o->n, p, n);
    }
    o->n += n;
}

static void put_substitution(struct out *o, struct mp_str sub, const char *text, const size_t *at,
                             uint32_t groups)
{
    for (size_t i = 0; i < sub.n; i++) {
        if (sub.p[i] != '\\') {
            put(o, sub.p + i, 1);
            continue;
        }
        char c = sub.p[++i];
        if (c == '\\') {
            put(o, "\\", 1);
            continue;
        }
        uint32_t g = (uint32_t)(c - '0');
        if (g < groups && at[2 * g] != PCRE2_UNSET) {
            put(o, text + at[2 * g], at[2 * g + 1] - at[2 * g]);
        }
    }
}

/* False when a match failed. *ret_any: something was replaced. */
static bool replace(const struct mp_regex *re, struct mp_str text, struct mp_str sub, struct out *o,
                    bool *ret_any)
{
    size_t at[2 * GROUPS_MAX];
    size_t from = 0, last_end = SIZE_MAX;
    *ret_any = false;
    while (from <= text.n) {
        int groups = match(re, text, from, GROUPS_MAX, at);
        if (groups < 0) {
            return false;
        }
        if (groups == 0) {
            break;
        }
        put(o, text.p + from, at[0] - from);
        if (at[0] == at[1] && at[0] == last_end) {
            /* No empty match right after another one. */
            put(o, text.p + at[0], at[0] < text.n);
            from = at[0] + 1;
            continue;
        }
        put_substitution(o, sub, text.p, at, (uint32_t)groups);
        *ret_any = true;
        from = last_end = at[1];
    }
    if (from < text.n) {
        put(o, text.p + from, text.n - from);
    }
    return true;
}

mp_err mp_regex_replace(const struct mp_regex *re, struct mp_str text, struct mp_str substitution,
                        struct mp_arena *arena, struct mp_str *ret)
{
    struct out o = {NULL, 0};
    bool any;
    if (!replace(re, text, substitution, &o, &any)) {
        return MP_FAIL(LIMIT);
    }
    if (!any) {
        *ret = text;
        return MP_OK;
    }
    size_t size = o.n;
    o = (struct out){mp_arena_bytes(arena, size), 0};
    if (o.p == NULL || !replace(re, text, substitution, &o, &any)) {
        return MP_FAIL(LIMIT);
    }
    MP_ASSERT(o.n == size);
    *ret = mp_str(o.p, o.n);
    return MP_OK;
}
