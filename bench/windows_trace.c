// SPDX-License-Identifier: BSD-3-Clause
/* Traces and their files: a line is `m ID GPA LEN` or `u ID`, hexadecimal; empty lines and those with # are skipped. */
#include "windows_sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

/* Which number a file's id has while it is in use: open addressing, never shrinks. */
struct names {
    struct {
        uint64_t id;
        uint32_t number; /* 0: not in use now */
        bool known;
    } * slots;
    size_t size, known;
};

static void append(struct sim_trace *trace, struct sim_event event)
{
    if (trace->count == trace->size) {
        trace->size = trace->size ? 2 * trace->size : 4096;
        trace->events = realloc(trace->events, trace->size * sizeof(*trace->events));
        if (!trace->events)
            bench_die("memory for a trace");
    }
    trace->events[trace->count++] = event;
    if (event.id >= trace->ids)
        trace->ids = event.id + 1;
}

void sim_trace_map(struct sim_trace *trace, uint32_t id, uint64_t gpa, uint64_t len)
{
    append(trace, (struct sim_event){.id = id, .gpa = gpa, .len = len});
}

void sim_trace_unmap(struct sim_trace *trace, uint32_t id)
{
    append(trace, (struct sim_event){.id = id});
}

void sim_trace_write(const struct sim_trace *trace, FILE *out)
{
    for (size_t i = 0; i < trace->count; i++) {
        const struct sim_event *event = &trace->events[i];

        if (event->len)
            fprintf(out, "m %" PRIx32 " %" PRIx64 " %" PRIx64 "\n", event->id, event->gpa, event->len);
        else
            fprintf(out, "u %" PRIx32 "\n", event->id);
    }
}

void sim_trace_free(struct sim_trace *trace)
{
    free(trace->name);
    free(trace->events);
    *trace = (struct sim_trace){0};
}

static size_t find_slot(const struct names *names, uint64_t id)
{
    size_t at = (size_t)(id * 0x9e3779b97f4a7c15u >> 20) & (names->size - 1);

    while (names->slots[at].known && names->slots[at].id != id)
        at = (at + 1) & (names->size - 1);
    return at;
}

static void grow(struct names *names)
{
    struct names larger = {.size = names->size ? 2 * names->size : 1024, .known = names->known};

    larger.slots = calloc(larger.size, sizeof(*larger.slots));
    if (!larger.slots)
        bench_die("memory for a trace");
    for (size_t i = 0; i < names->size; i++)
        if (names->slots[i].known)
            larger.slots[find_slot(&larger, names->slots[i].id)] = names->slots[i];
    free(names->slots);
    *names = larger;
}

static uint32_t *number_of(struct names *names, uint64_t id)
{
    size_t at;

    if (2 * (names->known + 1) > names->size)
        grow(names);
    at = find_slot(names, id);
    if (!names->slots[at].known) {
        names->slots[at].known = true;
        names->slots[at].id = id;
        names->known++;
    }
    return &names->slots[at].number;
}

/* A hexadecimal number, after spaces; false: there is none, or it has more than 64 bits. */
static bool take_number(char **text, uint64_t *value)
{
    char *start = *text + strspn(*text, " \t"), *end;

    if (start == *text || !strchr("0123456789abcdefABCDEF", *start) || !*start)
        return false;
    errno = 0;
    *value = strtoull(start, &end, 16);
    *text = end;
    return errno == 0;
}

static bool at_end(const char *text)
{
    return text[strspn(text, " \t\r\n")] == 0;
}

/* NULL, or what is wrong with the line. */
static const char *take_line(struct sim_trace *trace, struct names *names, char *line)
{
    uint64_t id, gpa, len;
    uint32_t *number;
    char *rest = line + 1;

    if (at_end(line) || *line == '#')
        return NULL;
    if (*line != 'm' && *line != 'u')
        return "neither 'm' nor 'u'";
    if (!take_number(&rest, &id))
        return "no id";
    number = number_of(names, id);
    if (*line == 'u') {
        if (!at_end(rest))
            return "more than an id";
        if (!*number)
            return "unmaps an id that is not mapped";
        sim_trace_unmap(trace, *number - 1);
        *number = 0;
        return NULL;
    }
    if (!take_number(&rest, &gpa) || !take_number(&rest, &len))
        return "no address and length";
    if (!at_end(rest))
        return "more than an address and a length";
    if (len == 0 || gpa >= UINT64_C(1) << 48 || len > (UINT64_C(1) << 48) - gpa)
        return "not a range below 2^48";
    if (*number)
        return "maps an id that is mapped";
    if (trace->ids == UINT32_MAX - 1)
        return "too many requests";
    *number = trace->ids + 1;
    sim_trace_map(trace, trace->ids, gpa, len);
    return NULL;
}

bool sim_trace_read(const char *path, struct sim_trace *trace, char *error, size_t size)
{
    struct names names = {0};
    const char *wrong = NULL;
    size_t number = 0, room = 0;
    char *line = NULL;
    FILE *file = fopen(path, "re");

    *trace = (struct sim_trace){.name = strdup(path)};
    if (!file) {
        snprintf(error, size, "%s: %s", path, strerror(errno));
        return false;
    }
    while (!wrong && getline(&line, &room, file) >= 0) {
        number++;
        wrong = take_line(trace, &names, line);
    }
    if (wrong)
        snprintf(error, size, "%s:%zu: %s", path, number, wrong);
    else if (ferror(file))
        snprintf(error, size, "%s: cannot be read", path);
    wrong = ferror(file) ? error : wrong;
    free(line);
    free(names.slots);
    fclose(file);
    return !wrong;
}
