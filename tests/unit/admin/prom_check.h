/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A reader of Prometheus' text format that is stricter than the real one: every family has one
 * HELP, then one TYPE line, then all of its samples; no series occurs twice; histograms are
 * cumulative, end in +Inf and agree with their count.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct prom {
    const char *p;
    char families[256][128];
    size_t n_families;
    char family[128], type[16];
    char series[4096][256];
    double values[4096];
    size_t n_series;
    const char *why;
};

static bool prom_fail(struct prom *c, const char *why)
{
    c->why = why;
    return false;
}

static size_t prom_name_len(const char *p)
{
    size_t n = 0;
    while ((p[n] >= 'a' && p[n] <= 'z') || (p[n] >= 'A' && p[n] <= 'Z') || p[n] == '_' ||
           p[n] == ':' || (n > 0 && p[n] >= '0' && p[n] <= '9')) {
        n++;
    }
    return n;
}

/* {name="value",...} or nothing. */
static bool prom_labels(struct prom *c)
{
    if (*c->p != '{') {
        return true;
    }
    do {
        c->p++;
        size_t n = prom_name_len(c->p);
        if (n == 0 || memchr(c->p, ':', n) != NULL || strncmp(c->p + n, "=\"", 2) != 0) {
            return prom_fail(c, "label name");
        }
        for (c->p += n + 2; *c->p != '"'; c->p++) {
            if (*c->p == '\n' || *c->p == '\0') {
                return prom_fail(c, "label value not closed");
            }
            if (*c->p == '\\' && strchr("\\\"n", *++c->p) == NULL) {
                return prom_fail(c, "escape");
            }
        }
        c->p++;
    } while (*c->p == ',');
    if (*c->p++ != '}') {
        return prom_fail(c, "labels not closed");
    }
    return true;
}

static bool prom_in_family(const struct prom *c, const char *name, size_t n)
{
    size_t f = strlen(c->family);
    if (n < f || strncmp(name, c->family, f) != 0) {
        return false;
    }
    const char *suffix = name + f;
    size_t s = n - f;
    if (strcmp(c->type, "histogram") != 0) {
        return s == 0;
    }
    return (s == 7 && strncmp(suffix, "_bucket", 7) == 0) ||
           (s == 4 && strncmp(suffix, "_sum", 4) == 0) ||
           (s == 6 && strncmp(suffix, "_count", 6) == 0);
}

static bool prom_sample(struct prom *c)
{
    const char *start = c->p;
    size_t n = prom_name_len(start);
    if (n == 0) {
        return prom_fail(c, "metric name");
    }
    if (!prom_in_family(c, start, n)) {
        return prom_fail(c, "sample outside its family");
    }
    c->p += n;
    if (!prom_labels(c)) {
        return false;
    }
    size_t len = (size_t)(c->p - start);
    if (*c->p++ != ' ' || len >= sizeof(c->series[0]) || c->n_series == 4096) {
        return prom_fail(c, "blank before the value");
    }
    char *end;
    c->values[c->n_series] = strtod(c->p, &end);
    if (end == c->p || *end != '\n') {
        return prom_fail(c, "value");
    }
    c->p = end + 1;
    memcpy(c->series[c->n_series], start, len);
    c->series[c->n_series][len] = '\0';
    for (size_t i = 0; i < c->n_series; i++) {
        if (strcmp(c->series[i], c->series[c->n_series]) == 0) {
            return prom_fail(c, "series occurs twice");
        }
    }
    c->n_series++;
    return true;
}

static bool prom_comment(struct prom *c)
{
    const char *end = strchr(c->p, '\n');
    char name[128], kind[16];
    if (strncmp(c->p, "# HELP ", 7) == 0) {
        size_t n = prom_name_len(c->p + 7);
        if (n == 0 || n >= sizeof(name) || c->p[7 + n] != ' ' || c->n_families == 256) {
            return prom_fail(c, "HELP line");
        }
        memcpy(name, c->p + 7, n);
        name[n] = '\0';
        for (size_t i = 0; i < c->n_families; i++) {
            if (strcmp(c->families[i], name) == 0) {
                return prom_fail(c, "family is apart");
            }
        }
        strcpy(c->families[c->n_families++], name);
        strcpy(c->family, name);
        c->type[0] = '\0';
    } else if (sscanf(c->p, "# TYPE %127[^ \n] %15[a-z]\n", name, kind) == 2) {
        if (strcmp(name, c->family) != 0 || c->type[0] != '\0' ||
            (strcmp(kind, "counter") != 0 && strcmp(kind, "gauge") != 0 &&
             strcmp(kind, "histogram") != 0)) {
            return prom_fail(c, "TYPE line");
        }
        strcpy(c->type, kind);
    } else {
        return prom_fail(c, "comment");
    }
    c->p = end + 1;
    return true;
}

/* text ends with NUL. */
static bool prom_parse(struct prom *c, const char *text)
{
    memset(c, 0, sizeof(*c));
    c->p = text;
    while (*c->p != '\0') {
        if (strchr(c->p, '\n') == NULL) {
            return prom_fail(c, "last line is not ended");
        }
        if (*c->p == '#' ? !prom_comment(c) : (c->type[0] == '\0' || !prom_sample(c))) {
            c->why = c->why != NULL ? c->why : "sample before TYPE";
            return false;
        }
    }
    return true;
}

/* -1: absent. */
static double prom_value(const struct prom *c, const char *series)
{
    for (size_t i = 0; i < c->n_series; i++) {
        if (strcmp(c->series[i], series) == 0) {
            return c->values[i];
        }
    }
    return -1;
}

/* Walks all buckets in order of appearance. */
static bool prom_histograms_are_cumulative(struct prom *c)
{
    double last = 0;
    for (size_t i = 0; i < c->n_series; i++) {
        const char *le = strstr(c->series[i], "le=\"");
        if (strstr(c->series[i], "_bucket{") == NULL) {
            continue;
        }
        if (le == NULL || c->values[i] < last) {
            return prom_fail(c, "bucket");
        }
        last = c->values[i];
        if (strcmp(le, "le=\"+Inf\"}") == 0) {
            if (i + 2 >= c->n_series || strstr(c->series[i + 1], "_sum") == NULL ||
                strstr(c->series[i + 2], "_count") == NULL || c->values[i + 2] != last) {
                return prom_fail(c, "sum and count follow the last bucket");
            }
            last = 0;
        }
    }
    return last == 0 || prom_fail(c, "+Inf is missing");
}
