/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The pages about the pages. */
#include "admin/html.h"
#include "admin/pages.h"

void mp_admin_list_pages(struct mp_sb *out)
{
    uint32_t n;
    const struct mp_admin_page *const *v = mp_admin_pages(&n);
    mp_sb_add_c(out, "admin commands are:\n");
    for (uint32_t i = 0; i < n; i++) {
        const struct mp_admin_page *p = v[i];
        mp_sb_printf(out, "  %s%s: %s\n", p->path, p->method == MP_METHOD_POST ? " (POST)" : "",
                     p->help);
        struct mp_str rest = mp_str_c(p->params), line;
        while (mp_str_split(&rest, '\n', &line) && line.n > 0) {
            mp_sb_printf(out, "      " MP_STR_FMT "\n", MP_STR_ARG(line));
        }
    }
}

void mp_admin_page_help(struct mp_admin_call *call)
{
    mp_admin_list_pages(&call->out);
}

void mp_admin_add_html(struct mp_sb *out, struct mp_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&':
            mp_sb_add_c(out, "&amp;");
            break;
        case '<':
            mp_sb_add_c(out, "&lt;");
            break;
        case '>':
            mp_sb_add_c(out, "&gt;");
            break;
        case '"':
            mp_sb_add_c(out, "&quot;");
            break;
        case '\'':
            mp_sb_add_c(out, "&#39;");
            break;
        default:
            mp_sb_add_char(out, s.p[i]);
        }
    }
}

/* A link, or a form where the page wants POST; a field for each parameter. */
static void add_row(struct mp_sb *out, const struct mp_admin_page *p)
{
    bool post = p->method == MP_METHOD_POST;
    struct mp_str path = mp_str_c(p->path);
    mp_sb_printf(out, "<tr><td><form method=\"%s\" action=\"", post ? "post" : "get");
    mp_admin_add_html(out, path);
    mp_sb_add_c(out, "\"><button>");
    mp_admin_add_html(out, path);
    mp_sb_add_c(out, "</button>");
    struct mp_str rest = mp_str_c(post ? p->params : NULL), line;
    while (mp_str_split(&rest, '\n', &line) && line.n > 0) {
        ptrdiff_t colon = mp_str_chr(line, ':', 0);
        mp_sb_add_c(out, " <input name=\"");
        mp_admin_add_html(out, mp_str(line.p, colon < 0 ? line.n : (size_t)colon));
        mp_sb_add_c(out, "\" title=\"");
        mp_admin_add_html(out, line);
        mp_sb_add_c(out, "\">");
    }
    mp_sb_add_c(out, "</form></td><td>");
    mp_admin_add_html(out, mp_str_c(p->help));
    mp_sb_add_c(out, "</td></tr>\n");
}

void mp_admin_page_index(struct mp_admin_call *call)
{
    uint32_t n;
    const struct mp_admin_page *const *v = mp_admin_pages(&n);
    call->content_type = MP_ADMIN_HTML;
    mp_sb_add_c(&call->out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"
                            "<title>MarchProxy admin</title></head>\n<body>\n<h1>MarchProxy</h1>\n"
                            "<table>\n<tr><th>Command</th><th>Description</th></tr>\n");
    for (uint32_t i = 0; i < n; i++) {
        if (v[i]->handle != mp_admin_page_index) {
            add_row(&call->out, v[i]);
        }
    }
    mp_sb_add_c(&call->out, "</table>\n</body>\n</html>\n");
}
