/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* gRPC-Web (binary and text) from browsers to gRPC: content types, base64, trailers as a last frame
 * of the body. */
#pragma once
#include "conf/registry.h"

extern const struct mp_conf_filter_type mp_conf_filter_grpc_web;
