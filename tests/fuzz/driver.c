/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Replays files, and the files of folders, through LLVMFuzzerTestOneInput: for builds without
 * libFuzzer. Exits 1 when there was nothing to replay. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FILE_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned replayed;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *all = malloc(FILE_MAX);
    if (f == NULL || all == NULL) {
        perror(path);
        return 1;
    }
    size_t n = fread(all, 1, FILE_MAX, f);
    fclose(f);
    /* An own block of the exact size, so that a read past the end is seen. */
    uint8_t *exact = malloc(n ? n : 1);
    if (exact == NULL) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        exact[i] = all[i];
    }
    free(all);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    replayed++;
    return 0;
}

static int replay_dir(const char *path)
{
    struct dirent **names;
    int failed = 0;
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0) {
        perror(path);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char full[4096];
        if (names[i]->d_name[0] != '.') {
            snprintf(full, sizeof(full), "%s/%s", path, names[i]->d_name);
            failed |= replay_file(full);
        }
        free(names[i]);
    }
    free(names);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0) {
            perror(argv[i]);
            return 1;
        }
        failed |= S_ISDIR(st.st_mode) ? replay_dir(argv[i]) : replay_file(argv[i]);
    }
    printf("%u inputs replayed\n", replayed);
    return failed || replayed == 0;
}
