/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* JSON Schema (draft 7) of the simple file, made from the messages that it is read into: for
 * editors and checks before anything runs. What depends on more than one field is for the reader
 * alone.
 */
#pragma once
#include "base/str.h"
#include "conf/registry.h"

void mp_conf_schema(const struct mp_conf_registry *registry, struct mp_sb *out);
