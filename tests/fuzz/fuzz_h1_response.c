/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fuzz/fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *in = (const char *)data;
    struct parsed p;
    static const enum mp_method methods[] = {MP_METHOD_HEAD, MP_METHOD_CONNECT, MP_METHOD_GET};
    /* GET last: the checks below are for its answer. */
    for (size_t i = 0; i < MP_COUNTOF(methods); i++) {
        help_feed(&p, HELP_RESPONSE, in, n, 0, 0, &help_limits, methods[i]);
        fuzz_check_pieces(&p, HELP_RESPONSE, in, n, fuzz_hash(data, n), methods[i]);
        if (i + 1 < MP_COUNTOF(methods)) {
            help_free(&p);
        }
    }
    if (p.st == MP_H1_MORE) {
        FUZZ_CHECK(!fuzz_has_end(in, n));
    }
    if (p.st == MP_H1_OK) {
        fuzz_check_fields(&p);
        FUZZ_CHECK(p.rs.status >= 100 && p.rs.status <= 599);
        FUZZ_CHECK(mp_hdr_value_ok(p.rs.reason));
        FUZZ_CHECK(p.rs.body != MP_BODY_CLOSE || !p.rs.keep_alive);
        FUZZ_CHECK(memcmp(p.buf + p.used - 4, "\r\n\r\n", 4) == 0);
        fuzz_check_written(&p, HELP_RESPONSE);
#if MP_HAVE_LLHTTP
        const char *why = peer_check_response(in, n, &p);
        if (why != NULL) {
            fprintf(stderr, "llhttp differs: %s\n", why);
            abort();
        }
#endif
    }
    help_free(&p);
    return 0;
}
