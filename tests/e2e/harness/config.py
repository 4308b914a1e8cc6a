# SPDX-License-Identifier: AGPL-3.0-or-later
"""Envoy v3 bootstraps, built from plain dictionaries."""
import yaml

HCM = ("type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
       ".HttpConnectionManager")
ROUTER = {"name": "envoy.filters.http.router",
          "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3"
                                    ".Router"}}


def address(port, host="127.0.0.1"):
    return {"socket_address": {"address": host, "port_value": port}}


def pipe(path):
    return {"pipe": {"path": path}}


def endpoint(where, **fields):
    """where: a port, (host, port), a path, or something with a port (an origin)."""
    if isinstance(where, dict):
        return where
    if hasattr(where, "port"):
        where = where.path if getattr(where, "path", None) else (where.host, where.port)
    if isinstance(where, int):
        where = ("127.0.0.1", where)
    place = pipe(where) if isinstance(where, str) else address(where[1], where[0])
    return {"endpoint": {"address": place}, **fields}


def cluster(name, endpoints, **fields):
    """endpoints: one or a list of what endpoint() takes."""
    if not isinstance(endpoints, (list, tuple)) or (len(endpoints) == 2
                                                    and isinstance(endpoints[0], str)):
        endpoints = [endpoints]
    out = {"name": name, "type": "STATIC", "connect_timeout": "1s",
           "load_assignment": {"cluster_name": name,
                               "endpoints": [{"lb_endpoints": [endpoint(e) for e in endpoints]}]}}
    out.update(fields)
    return out


def to(name, prefix="/", match=None, **action):
    """A route to a cluster."""
    return {"match": match or {"prefix": prefix}, "route": {"cluster": name, **action}}


def vhost(name, domains, routes, **fields):
    return {"name": name, "domains": list(domains), "routes": list(routes), **fields}


def manager(vhosts, hcm=None, route_config=None):
    return {"@type": HCM, "stat_prefix": "test", "http_filters": [ROUTER],
            "route_config": {"name": "test_routes", "virtual_hosts": vhosts, **(route_config or {})},
            **(hcm or {})}


def listener(name, place, http, **fields):
    return {"name": name, "address": place,
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager",
                                            "typed_config": http}]}], **fields}


def bootstrap(admin_port, listeners, clusters, **fields):
    return {"admin": {"address": address(admin_port)},
            "static_resources": {"listeners": listeners, "clusters": clusters}, **fields}


def dump(document):
    class NoAlias(yaml.SafeDumper):
        def ignore_aliases(self, data):
            return True
    return yaml.dump(document, Dumper=NoAlias, sort_keys=False, width=4000)


def march(admin_port, port, services, routes, **fields):
    """A simple file. services: name -> list of (host, port); routes: as in the file."""
    listed = []
    for name, (hosts, upstream_port) in services.items():
        listed.append({"name": name, "hosts": list(hosts), "port": upstream_port,
                       "protocol": "http"})
    return dump({"version": "1", "listen": "127.0.0.1:%d" % port,
                 "admin": "127.0.0.1:%d" % admin_port, "services": listed, "routes": routes,
                 **fields})
