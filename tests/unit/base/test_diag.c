/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/diag.h"
#include "t.h"

static void format(void)
{
    struct mp_diag d;
    struct mp_sb sb;
    mp_diag_init(&d, "a.yaml");
    mp_sb_init(&sb, 10000);
    mp_err e = mp_diag_error(&d, MP_E_INVALID, 7, "listeners[0].port", "use 1 to 65535",
                             "port %d is out of range", 70000);
    T_EQ(e.code, MP_E_INVALID);
    mp_diag_warn(&d, 0, NULL, NULL, "field \"%s\" is deprecated", "x");
    mp_diag_set_file(&d, d.file);
    T_OK(strcmp(d.file, "a.yaml") == 0);
    mp_diag_set_file(&d, NULL);
    e = mp_diag_error(&d, MP_E_SYNTAX, 3, "", NULL, "no colon");
    T_EQ(e.code, MP_E_SYNTAX);
    e = mp_diag_error(&d, MP_E_SYNTAX, 0, NULL, NULL, "nothing known");
    mp_diag_set_file(&d, "b.yaml");
    /* Quoted input must not forge a line, nor move the cursor. */
    e = mp_diag_error(&d, MP_E_INVALID, 1, "p\x1b", "c\r", "value \"%s\"",
                      "x\nb.yaml:2: forged \xff\xc2\x9b\xe2\x80\xae\xc3\xa4");
    T_EQ(d.errors, 4);
    T_EQ(d.warnings, 1);
    mp_diag_format(&d, &sb);
    T_OK(strcmp(sb.p, "a.yaml:7: listeners[0].port: port 70000 is out of range (use 1 to 65535)\n"
                      "a.yaml: warning: field \"x\" is deprecated\n"
                      "line 3: no colon\n"
                      "nothing known\n"
                      "b.yaml:1: p\\x1b: value \"x\\x0ab.yaml:2: forged \\xff\\x9b\\u202e\xc3\xa4\""
                      " (c\\x0d)\n") == 0);
    mp_sb_fini(&sb);
    mp_diag_fini(&d);
    T_EQ(d.n, 0);
    mp_diag_fini(&d);
}

static void limit(void)
{
    for (size_t n = 99; n <= 101; n++) {
        struct mp_diag d;
        struct mp_sb sb;
        mp_diag_init(&d, NULL);
        mp_sb_init(&sb, 10000);
        for (size_t i = 0; i < n; i++) {
            mp_err e = mp_diag_error(&d, MP_E_INVALID, 0, NULL, NULL, "e%zu", i);
            T_OK(mp_is_err(e));
        }
        T_EQ(d.errors, n);
        T_EQ(d.n, n < 100 ? n : 100);
        T_EQ(d.dropped, n > 100 ? 1 : 0);
        mp_diag_format(&d, &sb);
        T_EQ(strstr(sb.p, "1 more\n") != NULL, n > 100);
        mp_sb_fini(&sb);
        mp_diag_fini(&d);
    }
}

static void without_list(void)
{
    T_EQ(mp_diag_error(NULL, MP_E_DENIED, 1, "p", NULL, "%d", 1).code, MP_E_DENIED);
    mp_diag_warn(NULL, 1, "p", NULL, "%d", 1);
}

int main(void)
{
    T_RUN(format);
    T_RUN(limit);
    T_RUN(without_list);
    return T_DONE();
}
