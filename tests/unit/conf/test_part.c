/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a part of a model keeps alive, and that it keeps nothing else. */
#include "t.h"
#include "conf_test.h"

#define MANAGER                                                                               \
    "    filter_chains:\n    - filters:\n"                                                    \
    "      - name: m\n        typed_config:\n"                                                \
    "          \"@type\": type.googleapis.com/envoy.extensions.filters.network"               \
    ".http_connection_manager.v3.HttpConnectionManager\n"                                     \
    "          stat_prefix: s\n          http_filters:\n          - name: r\n"                \
    "            typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http" \
    ".router.v3.Router}\n          route_config:\n            name: %s\n"                     \
    "            virtual_hosts:\n            - name: v\n              domains: [\"*\"]\n"     \
    "              routes: [{match: {prefix: /}, route: {cluster: %s}}]\n"
#define LISTENER \
    "  - name: %s\n    address: {socket_address: {address: 127.0.0.1, port_value: %u}}\n"

static void add_listener(struct mp_sb *sb, const char *name, unsigned port, const char *table,
                         const char *cluster)
{
    mp_sb_printf(sb, LISTENER, name, port);
    mp_sb_printf(sb, MANAGER, table, cluster);
}

static struct mp_conf *load(const struct mp_sb *sb)
{
    char *said;
    struct mp_conf *c = ct_load(sb->p, false, &said);
    if (!c) {
        printf("# %s\n", said);
    }
    free(said);
    return c;
}

/* Two listeners with the same table, one with another, two clusters. */
static struct mp_conf *three_listeners(const char *more)
{
    struct mp_sb sb;
    mp_sb_init(&sb, 65536);
    mp_sb_add_c(&sb, "static_resources:\n  listeners:\n");
    add_listener(&sb, "one", 1001, "shared", "a");
    add_listener(&sb, "two", 1002, "shared", "a");
    add_listener(&sb, "three", 1003, "own", "b");
    mp_sb_add_c(&sb, "  clusters:\n  - {name: a, type: STATIC, load_assignment: {cluster_name: "
                     "a}}\n  - {name: b, type: STATIC, load_assignment: {cluster_name: b}}\n");
    mp_sb_add_c(&sb, more);
    struct mp_conf *c = load(&sb);
    mp_sb_fini(&sb);
    return c;
}

static void test_one_part_each(void)
{
    T_EQ(mp_conf_parts_alive().n, 0);
    T_EQ(mp_conf_parts_alive().bytes, 0);
    struct mp_conf *c = three_listeners("");
    T_OK(c);
    T_EQ(mp_conf_parts_alive().n, 3 + 2 + 2); /* listeners, tables, clusters */
    mp_conf_free(c);
    T_EQ(mp_conf_parts_alive().n, 0);
    T_EQ(mp_conf_parts_alive().bytes, 0);
}

static void test_cluster_outlives_its_model(void)
{
    struct mp_conf *c = three_listeners("");
    T_OK(c);
    struct mp_conf_cluster *k = c->clusters[1];
    mp_conf_part_ref(k->part);
    mp_conf_free(c);
    T_EQ(mp_conf_parts_alive().n, 1);
    T_OK(mp_str_eq(k->name, MP_STR("b")));
    T_OK(k->source.packed.n > 0);
    mp_conf_part_unref(k->part);
    T_EQ(mp_conf_parts_alive().n, 0);
}

/* The table was made for the first listener that has it; the second keeps it all the same. */
static void test_listener_keeps_a_shared_table(void)
{
    struct mp_conf *c = three_listeners("");
    T_OK(c);
    struct mp_conf_listener *two = c->listeners[1];
    T_OK(two->http->routes == c->listeners[0]->http->routes);
    T_OK(two->http->routes != c->listeners[2]->http->routes);
    mp_conf_part_ref(two->part);
    mp_conf_free(c);
    T_EQ(mp_conf_parts_alive().n, 2);
    T_OK(mp_str_eq(two->http->routes->vhosts[0].routes[0].cluster, MP_STR("a")));
    mp_conf_part_unref(two->part);
    T_EQ(mp_conf_parts_alive().n, 0);
}

static void test_dropped_parts(void)
{
    struct mp_conf *c = three_listeners("node: {id: n1}\n");
    T_OK(c);
    mp_conf_drop_parts(c);
    T_EQ(c->n_listeners, 0);
    T_EQ(c->n_clusters, 0);
    T_EQ(mp_conf_parts_alive().n, 0);
    T_OK(mp_str_eq(c->node_id, MP_STR("n1"))); /* the rest stays */
    T_OK(c->source.packed.n > 0);
    mp_conf_drop_parts(c); /* harmless */
    mp_conf_free(c);
}

static void test_refused_model_keeps_nothing(void)
{
    char *said;
    T_OK(!three_listeners("no_such_key: 1\n"));
    T_OK(!ct_load("static_resources: {clusters: [{name: a}, {name: a}], listeners: [{name: x}]}",
                  false, &said));
    free(said);
    T_EQ(mp_conf_parts_alive().n, 0);
}

/* A runtime limit is not in the listener's message, but changes the listener. */
static void test_limit_changes_the_hash(void)
{
    static const char *const layers[] = {
        "",
        "layered_runtime: {layers: [{name: l, static_layer: "
        "{envoy.resource_limits.listener.two.connection_limit: 5}}]}\n",
        "layered_runtime: {layers: [{name: l, static_layer: "
        "{envoy.resource_limits.listener.two.connection_limit: 6}}]}\n"};
    uint64_t one[3], two[3];
    for (int i = 0; i < 3; i++) {
        struct mp_conf *c = three_listeners(layers[i]);
        T_OK(c);
        one[i] = c->listeners[0]->source.hash;
        two[i] = c->listeners[1]->source.hash;
        mp_conf_free(c);
    }
    T_OK(one[0] == one[1] && one[1] == one[2]);
    T_OK(two[0] != two[1] && two[1] != two[2] && two[0] != two[2]);
}

int main(void)
{
    mp_hash_set_key(1, 2);
    T_RUN(test_one_part_each);
    T_RUN(test_cluster_outlives_its_model);
    T_RUN(test_listener_keeps_a_shared_table);
    T_RUN(test_dropped_parts);
    T_RUN(test_refused_model_keeps_nothing);
    T_RUN(test_limit_changes_the_hash);
    return T_DONE();
}
