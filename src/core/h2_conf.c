/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/h2_conf.h"

void mp_h2_conf_set(struct mp_h2_conf *ret, const struct mp_conf_http2 *c, bool server)
{
    mp_h2_conf_defaults(ret, server);
    ret->allow_connect = c->allow_connect;
    ret->table_size = c->table_size_set ? c->table_size : ret->table_size;
    const struct {
        uint32_t *to, value;
    } set[] = {
        {&ret->max_concurrent_streams, c->max_concurrent_streams},
        {&ret->stream_window, c->stream_window},
        {&ret->conn_window, c->conn_window},
        {&ret->outbound_control_frames_max, c->outbound_control_frames_max},
        {&ret->empty_frames_max, c->empty_frames_max},
        {&ret->priority_frames_per_stream, c->priority_frames_per_stream},
        {&ret->window_updates_per_data_frame, c->window_updates_per_data_frame},
    };
    for (size_t i = 0; i < MP_COUNTOF(set); i++) {
        *set[i].to = set[i].value != 0 ? set[i].value : *set[i].to;
    }
}
