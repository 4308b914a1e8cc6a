/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One line of the access log, from a finished stream to the worker's buffer: 100 lines each. */
#include "base/hash.h"
#include "callgrind/alog_stream.h"
#include "callgrind/cg.h"

static void prepare_default(void)
{
    as_start(&(struct mp_conf_alog){.kind = MP_ALOG_STDOUT, .default_json = true});
}
static void prepare_text(void)
{
    as_start(&(struct mp_conf_alog){
        .kind = MP_ALOG_STDOUT,
        .text =
            MP_STR("[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% "
                   "%PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% "
                   "%DURATION% \"%REQ(USER-AGENT)%\" \"%REQ(:AUTHORITY)%\" "
                   "\"%UPSTREAM_HOST%\"\n")});
}
static void lines(void)
{
    for (int i = 0; i < 100; i++) {
        as_line();
    }
}

static const struct cg_case cases[] = {
    {"default_json", prepare_default, lines},
    {"text", prepare_text, lines},
};

int main(int argc, char **argv)
{
    mp_hash_set_key(1, 2);
    return cg_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
