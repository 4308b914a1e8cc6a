/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Configuration while running: the file is read and compiled on a thread of its own, one at a time,
 * and published by the main thread: the whole of it or nothing. Asked for by signal, by the admin
 * page POST /reload or by the watch.
 *
 * A refusal leaves log lines, counts in server.config_update_rejected and stands in /config_dump
 * until the next configuration is published.
 */
#pragma once
#include <stdint.h>

struct mp_engine;
struct mp_options;
struct mp_reload;

/* Registers the admin page. One in a program; before the admin listens. opts is borrowed. */
struct mp_reload *mp_reload_new(struct mp_engine *e, const struct mp_options *opts);
/* Main thread, with the loops at rest: waits for the builder. Before the engine is freed. */
struct mp_reload *mp_reload_free(struct mp_reload *r);
/* Main thread. While a build is under way the request is remembered, so that the last state of the
 * file is what runs in the end. why: static text for the log. */
void mp_reload_request(struct mp_reload *r, const char *why);
/* From the engine's on_published. */
void mp_reload_published(struct mp_reload *r, uint64_t generation);
