/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fuzz/fuzz_h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *in = (const char *)data;
    struct parsed p;
    help_parse(&p, HELP_REQUEST, in, n);
    if (p.st == MP_H1_MORE) {
        FUZZ_CHECK(!fuzz_has_end(in, n));
    }
    if (p.st == MP_H1_OK) {
        fuzz_check_fields(&p);
        FUZZ_CHECK(p.rq.authority.n == 0 || fuzz_inside(&p, p.rq.authority.p, p.rq.authority.n));
        FUZZ_CHECK((p.rq.path.n == 0) == (p.rq.form == MP_TARGET_AUTHORITY));
        FUZZ_CHECK(p.rq.path.n == 0 || p.rq.path.p[0] == '/' || p.rq.form == MP_TARGET_ASTERISK);
        FUZZ_CHECK(memcmp(p.buf + p.used - 4, "\r\n\r\n", 4) == 0);
        FUZZ_CHECK(!fuzz_has_end(in, p.used - 1));
        fuzz_check_written(&p, HELP_REQUEST);
#if MP_HAVE_LLHTTP
        const char *why = peer_check_request(in, n, &p);
        if (why != NULL) {
            fprintf(stderr, "llhttp differs: %s\n", why);
            abort();
        }
#endif
    }
    fuzz_check_pieces(&p, HELP_REQUEST, in, n, fuzz_hash(data, n), MP_METHOD_GET);
    help_free(&p);
    return 0;
}
