/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The table of pages and what is printed of it; the pages that need no running engine. */
#include "admin/address.h"
#include "admin/admin.h"
#include "admin/endpoints.h"
#include "admin/html.h"
#include "admin/pages.h"
#include "base/log.h"
#include "conf/pb.h"
#include "envoy_config_endpoint_v3.pb-c.h"
#include "t.h"

static struct mp_admin_call *call;

/* Runs a page with a query; the answer is in call. */
static void run(const char *path, const char *query)
{
    call = mp_admin_call_free(call);
    call = mp_admin_call_new(NULL, MP_METHOD_GET, mp_str_c(path));
    if (mp_is_err(mp_admin_query_parse(mp_str_c(query), false, &call->query))) {
        abort();
    }
    mp_admin_find_page(mp_str_c(path))->handle(call);
}

static bool has(const char *text)
{
    return strstr(call->out.p, text) != NULL;
}

static void test_table(void)
{
    uint32_t n;
    const struct mp_admin_page *const *v = mp_admin_pages(&n);
    T_OK(n >= 15);
    for (uint32_t i = 0; i < n; i++) {
        T_OK(i == 0 || strcmp(v[i - 1]->path, v[i]->path) < 0);
        T_OK(v[i]->method == MP_METHOD_GET || v[i]->method == MP_METHOD_POST);
        T_OK(mp_admin_find_page(mp_str_c(v[i]->path)) == v[i]);
    }
    T_OK(mp_admin_find_page(MP_STR("")) == NULL);
    T_OK(mp_admin_find_page(MP_STR("/stat")) == NULL);
    T_OK(mp_admin_find_page(MP_STR("/stats/")) == NULL);
    T_OK(mp_admin_find_page(MP_STR("/STATS")) == NULL);
}

/* Whatever changes something wants POST. */
static void test_what_changes_wants_post(void)
{
    static const char *const changing[] = {
        "/healthcheck/fail", "/healthcheck/ok", "/drain_listeners", "/quitquitquit",
        "/reset_counters",   "/logging",        "/reopen_logs"};
    for (size_t i = 0; i < sizeof(changing) / sizeof(changing[0]); i++) {
        T_OK(mp_admin_find_page(mp_str_c(changing[i]))->method == MP_METHOD_POST);
    }
}

static void on_own(struct mp_admin_call *c)
{
    mp_sb_add_c(&c->out, "own");
}

static void test_register(void)
{
    static const struct mp_admin_page first = {"/own<\"&'>", MP_METHOD_POST, on_own,
                                               "help <b>&amp;", "p\"1: a<b\n"};
    static const struct mp_admin_page second = {"/own<\"&'>", MP_METHOD_POST, on_own,
                                                "new <b>&amp;", "p\"1: a<b\n"};
    uint32_t before, after;
    mp_admin_pages(&before);
    mp_admin_register(&first);
    mp_admin_register(&second);
    mp_admin_pages(&after);
    T_EQ(after, before + 1);
    T_OK(mp_admin_find_page(MP_STR("/own<\"&'>")) == &second);
    run("/own<\"&'>", "");
    T_OK(has("own"));
}

static void test_help(void)
{
    run("/help", "");
    T_OK(strncmp(call->out.p, "admin commands are:\n  /: Admin home page\n", 41) == 0);
    T_OK(has("\n  /logging (POST): query/change logging levels\n      level: trace,"));
    T_OK(has("\n  /stats: print server stats\n      usedonly: "));
    T_OK(has("\n  /own<\"&'> (POST): new <b>&amp;\n      p\"1: a<b\n"));
}

static void test_index_is_escaped(void)
{
    run("/", "");
    T_OK(mp_str_eq(call->content_type, MP_ADMIN_HTML));
    T_OK(has("<form method=\"post\" "
             "action=\"/own&lt;&quot;&amp;&#39;&gt;\"><button>/own&lt;&quot;&amp;&#39;&gt;"
             "</button> <input name=\"p&quot;1\" title=\"p&quot;1: a&lt;b\">"));
    T_OK(has("<td>new &lt;b&gt;&amp;amp;</td>"));
    T_OK(has("<form method=\"get\" action=\"/ready\">"));
    T_OK(!has("action=\"/\""));
}

static void test_logging(void)
{
    enum mp_log_level before = mp_log_threshold;
    run("/logging", "level=warn");
    T_EQ(call->status, 200);
    T_OK(strcmp(call->out.p, "active loggers:\n  marchproxy: warning\n") == 0);
    T_EQ(mp_log_threshold, MP_LOG_WARNING);
    run("/logging", "level=loud");
    T_EQ(call->status, 400);
    T_OK(has("unknown logger level"));
    run("/logging", "level=");
    T_EQ(call->status, 400);
    T_EQ(mp_log_threshold, MP_LOG_WARNING);
    run("/logging", "");
    T_OK(has("warning"));
    mp_log_set_level(before);
}

static void test_fail_replaces(void)
{
    run("/", "");
    mp_admin_fail(call, 418, "short %d\n", 1);
    T_EQ(call->status, 418);
    T_OK(mp_str_eq(call->content_type, MP_ADMIN_TEXT));
    T_OK(strcmp(call->out.p, "short 1\n") == 0);
}

static void test_addresses(void)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 1000);
    mp_admin_add_address_text(&sb, MP_STR("1.2.3.4"), 80, false);
    mp_sb_add_char(&sb, ' ');
    mp_admin_add_address_text(&sb, MP_STR("::1"), 443, false);
    mp_sb_add_char(&sb, ' ');
    mp_admin_add_address_text(&sb, MP_STR("/run/a:b"), 0, true);
    T_OK(strcmp(sb.p, "1.2.3.4:80 [::1]:443 /run/a:b") == 0);
    mp_sb_reset(&sb);
    mp_admin_add_address_json(&sb, MP_STR("::1"), 443, false);
    mp_admin_add_address_json(&sb, MP_STR("/a\"b"), 0, true);
    T_OK(strcmp(sb.p, "{\"socket_address\": {\"address\": \"::1\", \"port_value\": 443}}"
                      "{\"pipe\": {\"path\": \"/a\\\"b\"}}") == 0);
    mp_sb_fini(&sb);
}

static void test_endpoints(void)
{
    struct mp_admin_host c = {
        .text = MP_STR("/s"), .ip = MP_STR("/s"), .is_unix = true, .priority = 1, .weight = 3};
    struct mp_admin_host b = {
        .ip = MP_STR("::1"), .port = 2, .weight = 2, .configured_up = true, .next = &c};
    struct mp_admin_host a = {.ip = MP_STR("1.2.3.4"),
                              .port = 1,
                              .weight = 1,
                              .configured_up = true,
                              .hostname = MP_STR("h"),
                              .next = &b};
    struct mp_arena arena;
    struct mp_sb sb;
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 4096, 1 << 20);
    mp_sb_init(&sb, 10000);
    struct mp_str packed = mp_admin_pack_endpoints(MP_STR("main"), &a, &arena);
    ProtobufCMessage *m =
        protobuf_c_message_unpack(&envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
                                  NULL, packed.n, (const uint8_t *)packed.p);
    T_OK(m != NULL);
    mp_pb_to_json(m, 0, &sb);
    protobuf_c_message_free_unpacked(m, NULL);
    T_OK(
        strcmp(sb.p,
               "{\"cluster_name\":\"main\",\"endpoints\":[{\"lb_endpoints\":["
               "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"1.2.3.4\",\"port_"
               "value\":1}},"
               "\"hostname\":\"h\"},\"health_status\":\"HEALTHY\",\"load_balancing_weight\":1},"
               "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"::1\",\"port_value\":"
               "2}}},"
               "\"health_status\":\"HEALTHY\",\"load_balancing_weight\":2}]},"
               "{\"lb_endpoints\":[{\"endpoint\":{\"address\":{\"pipe\":{\"path\":\"/s\"}}},"
               "\"health_status\":\"UNHEALTHY\",\"load_balancing_weight\":3}],\"priority\":1}]}") ==
        0);
    mp_sb_reset(&sb);
    packed = mp_admin_pack_endpoints(MP_STR("none"), NULL, &arena);
    T_EQ(packed.n, 6);
    mp_sb_fini(&sb);
    mp_arena_fini(&arena);
}

int main(void)
{
    T_RUN(test_table);
    T_RUN(test_what_changes_wants_post);
    T_RUN(test_register);
    T_RUN(test_help);
    T_RUN(test_index_is_escaped);
    T_RUN(test_logging);
    T_RUN(test_fail_replaces);
    T_RUN(test_addresses);
    T_RUN(test_endpoints);
    mp_admin_call_free(call);
    return T_DONE();
}
