/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The first byte is the policy, the rest a path, and an authority. */
#include "codec/uri.h"
#include "fuzz/fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_path(struct mp_uri_policy policy, struct mp_str in)
{
    char *out = malloc(in.n + 1), *again = malloc(in.n + 1);
    FUZZ_CHECK(out != NULL && again != NULL);
    struct mp_str one = in, two, path, query, old_path, old_query, seg;
    bool has, had;
    enum mp_uri_result r = mp_uri_normalize(&policy, in, out, &one);
    if (r != MP_URI_BAD) {
        FUZZ_CHECK(one.n > 0 && one.n <= in.n && one.p[0] == '/');
        FUZZ_CHECK(r == MP_URI_SAME || !mp_str_eq(one, in));
        FUZZ_CHECK(mp_uri_normalize(&policy, one, again, &two) == MP_URI_SAME);
        mp_uri_split(in, &old_path, &old_query, &had);
        mp_uri_split(one, &path, &query, &has);
        FUZZ_CHECK(has == had && mp_str_eq(query, old_query));
        struct mp_str rest = path;
        while (policy.normalize && mp_str_split(&rest, '/', &seg)) {
            FUZZ_CHECK(!mp_str_eq(seg, MP_STR(".")) && !mp_str_eq(seg, MP_STR("..")));
        }
        FUZZ_CHECK(!policy.merge_slashes || mp_str_find(path, MP_STR("//")) < 0);
        for (size_t i = 0; i < path.n; i++) {
            FUZZ_CHECK(path.p[i] > 0x20 && path.p[i] < 0x7f && path.p[i] != '\\');
        }
    }
    free(out);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct mp_str host;
    unsigned port;
    if (n == 0) {
        return 0;
    }
    struct mp_uri_policy policy = {.normalize = data[0] & 1,
                                   .merge_slashes = (data[0] & 2) != 0,
                                   .escaped_slashes = (enum mp_escaped_slashes)(data[0] >> 2 & 3)};
    struct mp_str in = mp_str((const char *)data + 1, n - 1);
    check_path(policy, in);
    if (mp_authority_parse(in, &host, &port)) {
        FUZZ_CHECK(host.p == in.p && host.n > 0 && host.n <= in.n && port <= 65535);
        FUZZ_CHECK((port == 0) == (host.n == in.n));
        FUZZ_CHECK(memchr(host.p, '@', host.n) == NULL && memchr(host.p, '/', host.n) == NULL);
    }
    return 0;
}
