/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Loads the files named on the command line and prints what is reported: for tests that are
 * scripts, and for looking at messages. Exit code 1 when a file is refused. "-j TYPE FILE":
 * converts one message to JSON and back instead.
 */
#include "conf_test.h"

static int convert(const char *type, const char *file, bool packed)
{
    struct mp_diag diag;
    struct mp_arena arena;
    struct mp_sb sb;
    struct mp_yaml *y;
    struct mp_pb_read_opts opts = {0};
    ProtobufCMessage *m;
    char *text = ct_read(file);
    const ProtobufCMessageDescriptor *d = mp_pb_find_type(mp_str_c(type));
    if (!text || !d) {
        return 2;
    }
    mp_diag_init(&diag, file);
    mp_sb_init(&sb, 64 << 20);
    mp_arena_init(&arena, NULL, 0, &mp_block_source_heap, 65536, SIZE_MAX);
    int code = 1;
    if (!mp_is_err(mp_yaml_parse(mp_str_c(text), &diag, &y))) {
        if (!mp_is_err(mp_pb_from_yaml(y, NULL, d, &opts, &arena, &diag, &m))) {
            if (packed) {
                mp_sb_add(&sb, mp_pb_pack(m, &arena));
            } else {
                mp_pb_to_json(m, 1, &sb);
                mp_sb_add_char(&sb, '\n');
            }
            code = 0;
        }
        mp_yaml_free(y);
    }
    if (code) {
        mp_diag_format(&diag, &sb);
    }
    if (sb.n > 0) {
        fwrite(sb.p, 1, sb.n, stdout);
    }
    mp_arena_fini(&arena);
    mp_sb_fini(&sb);
    mp_diag_fini(&diag);
    free(text);
    return code;
}

int main(int argc, char **argv)
{
    int bad = 0;
    mp_hash_set_key(1, 2);
    if (argc == 4 && (strcmp(argv[1], "-j") == 0 || strcmp(argv[1], "-p") == 0)) {
        return convert(argv[2], argv[3], argv[1][1] == 'p');
    }
    for (int i = 1; i < argc; i++) {
        char *text = ct_read(argv[i]), *said = NULL;
        struct mp_conf *c = text ? ct_load(text, false, &said) : NULL;
        printf("%s: %s\n%s", argv[i], c ? "ok" : "refused", said ? said : "");
        bad |= !c;
        mp_conf_free(c);
        free(text);
        free(said);
    }
    return bad;
}
