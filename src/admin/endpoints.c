/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/endpoints.h"

#include "base/assert.h"
#include "conf/pb.h"
#include "core/host.h"
#include "envoy_config_endpoint_v3.pb-c.h"

static void *alloc(struct mp_arena *a, size_t n)
{
    void *p = mp_arena_zalloc(a, n);
    MP_ASSERT(p != NULL);
    return p;
}

static char *text(struct mp_arena *a, struct mp_str s)
{
    struct mp_str copy = mp_arena_dup(a, s);
    MP_ASSERT(copy.p != NULL);
    return (char *)(uintptr_t)copy.p;
}

static Envoy__Config__Core__V3__Address *make_address(struct mp_arena *a,
                                                      const struct mp_admin_host *h)
{
    Envoy__Config__Core__V3__Address *address = alloc(a, sizeof(*address));
    envoy__config__core__v3__address__init(address);
    if (h->is_unix) {
        address->address_case = ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_PIPE;
        address->pipe = alloc(a, sizeof(*address->pipe));
        envoy__config__core__v3__pipe__init(address->pipe);
        address->pipe->path = text(a, h->ip);
        return address;
    }
    address->address_case = ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS;
    address->socket_address = alloc(a, sizeof(*address->socket_address));
    envoy__config__core__v3__socket_address__init(address->socket_address);
    address->socket_address->address = text(a, h->ip);
    address->socket_address->port_specifier_case =
        ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    address->socket_address->port_value = h->port;
    return address;
}

static Envoy__Config__Endpoint__V3__LbEndpoint *make_endpoint(struct mp_arena *a,
                                                              const struct mp_admin_host *h)
{
    Envoy__Config__Endpoint__V3__LbEndpoint *lb = alloc(a, sizeof(*lb));
    envoy__config__endpoint__v3__lb_endpoint__init(lb);
    lb->host_identifier_case = ENVOY__CONFIG__ENDPOINT__V3__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    lb->endpoint = alloc(a, sizeof(*lb->endpoint));
    envoy__config__endpoint__v3__endpoint__init(lb->endpoint);
    lb->endpoint->address = make_address(a, h);
    lb->endpoint->hostname = text(a, h->hostname);
    lb->health_status = (h->configured_up && (h->health & MP_HEALTH_DOWN) == 0)
                            ? ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__HEALTHY
                            : ENVOY__CONFIG__CORE__V3__HEALTH_STATUS__UNHEALTHY;
    lb->load_balancing_weight = alloc(a, sizeof(*lb->load_balancing_weight));
    google__protobuf__uint32_value__init(lb->load_balancing_weight);
    lb->load_balancing_weight->value = h->weight;
    return lb;
}

static Envoy__Config__Endpoint__V3__LocalityLbEndpoints *
locality_of(Envoy__Config__Endpoint__V3__ClusterLoadAssignment *m, uint32_t priority,
            uint32_t n_hosts, struct mp_arena *a)
{
    for (size_t i = 0; i < m->n_endpoints; i++) {
        if (m->endpoints[i]->priority == priority) {
            return m->endpoints[i];
        }
    }
    Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l = alloc(a, sizeof(*l));
    envoy__config__endpoint__v3__locality_lb_endpoints__init(l);
    l->priority = priority;
    l->lb_endpoints = alloc(a, n_hosts * sizeof(l->lb_endpoints[0]));
    m->endpoints[m->n_endpoints++] = l;
    return l;
}

struct mp_str mp_admin_pack_endpoints(struct mp_str cluster, const struct mp_admin_host *first,
                                      struct mp_arena *arena)
{
    Envoy__Config__Endpoint__V3__ClusterLoadAssignment m =
        ENVOY__CONFIG__ENDPOINT__V3__CLUSTER_LOAD_ASSIGNMENT__INIT;
    uint32_t n = 0;
    for (const struct mp_admin_host *h = first; h != NULL; h = h->next) {
        n++;
    }
    m.cluster_name = text(arena, cluster);
    m.endpoints = alloc(arena, (n + 1) * sizeof(m.endpoints[0]));
    for (const struct mp_admin_host *h = first; h != NULL; h = h->next) {
        Envoy__Config__Endpoint__V3__LocalityLbEndpoints *l =
            locality_of(&m, h->priority, n, arena);
        l->lb_endpoints[l->n_lb_endpoints++] = make_endpoint(arena, h);
    }
    return mp_pb_pack(&m.base, arena);
}
