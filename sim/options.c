/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing key=value options by their tables; see options.h. The text is walked once, left to right; nothing of it is
 * kept but the copies that TEXT options hold. No state, no lock.
 */
#include "sim/options.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/range.h"

enum { MAX_ROWS = 64, MAX_SHOWN = 80 };

struct parse {
    const struct vd_env *env;
    const char *address;
    const struct sim_option_set *sets;
    size_t nr_sets;
    struct vd_failure *failure;
    uint64_t seen; /* one bit per row, all sets counted through */
};

static size_t count_rows(const struct sim_option_set *sets, size_t nr_sets)
{
    size_t count = 0;

    for (size_t s = 0; s < nr_sets; s++)
        count += sets[s].count;
    return count;
}

/* One value as it stands in the text: commas may still be doubled. */
struct word {
    const char *text;
    size_t length;
};

static int shown(size_t length)
{
    return (int)(length < MAX_SHOWN ? length : MAX_SHOWN);
}

static void *field(const struct sim_option_set *set, const struct sim_option *row)
{
    return (char *)set->values + row->offset;
}

static int refuse_value(const struct parse *p, const struct sim_option *row, struct word value)
{
    return vd_fail_usage(p->failure, "%s: option '%s' cannot be '%.*s'; allowed: %s", p->address, row->key,
                         shown(value.length), value.text, row->values ? row->values : "see the manual");
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Reads digits from the front of *value; false when there is none or the number overflows. */
static bool read_number(struct word *value, uint64_t *out)
{
    bool hex = value->length > 2 && value->text[0] == '0' && (value->text[1] == 'x' || value->text[1] == 'X');
    size_t i = hex ? 2 : 0;
    int base = hex ? 16 : 10;
    uint64_t sum = 0;
    size_t first = i;

    for (; i < value->length && digit_of(value->text[i]) < base; i++) {
        if (__builtin_mul_overflow(sum, (uint64_t)base, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)digit_of(value->text[i]), &sum))
            return false;
    }
    value->text += i;
    value->length -= i;
    *out = sum;
    return i > first;
}

/* The power of 1024 that a suffix stands for; -1 for anything else. */
static int suffix_shift(struct word rest)
{
    static const char letters[] = "KMGT";
    const char *at;
    char c;

    if (rest.length == 0)
        return 0;
    c = rest.text[0] >= 'a' && rest.text[0] <= 'z' ? (char)(rest.text[0] - 'a' + 'A') : rest.text[0];
    at = rest.length == 1 && c ? strchr(letters, c) : NULL;
    return at ? 10 * (int)(at - letters + 1) : -1;
}

static bool parse_number(const struct sim_option *row, struct word value, uint64_t *out)
{
    uint64_t number;
    int shift;

    if (!read_number(&value, &number))
        return false;
    shift = row->type == SIM_OPTION_SIZE || value.length == 0 ? suffix_shift(value) : -1;
    if (shift < 0 || number > UINT64_MAX >> shift)
        return false;
    number <<= shift;
    if (number < row->min || (row->max && number > row->max))
        return false;
    if (row->power_of_two && !vd_is_power_of_two(number))
        return false;
    *out = number;
    return true;
}

static bool word_is(struct word value, const char *name)
{
    return strlen(name) == value.length && memcmp(name, value.text, value.length) == 0;
}

static bool parse_bool(struct word value, bool *out)
{
    *out = word_is(value, "on");
    return *out || word_is(value, "off");
}

static bool parse_enum(const struct sim_option *row, struct word value, unsigned *out)
{
    for (unsigned i = 0; row->names[i]; i++) {
        if (word_is(value, row->names[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* Replaces *out by a copy in which doubled commas are single. */
static int store_text(const struct parse *p, struct word value, char **out)
{
    char *copy = vd_env_alloc(p->env, value.length + 1, 1);
    size_t used = 0;

    if (!copy)
        return vd_fail(p->failure, -ENOMEM, "%s: out of memory", p->address);
    for (size_t i = 0; i < value.length; i++) {
        copy[used++] = value.text[i];
        if (value.text[i] == ',')
            i++;
    }
    vd_env_free(p->env, *out);
    *out = copy;
    return 0;
}

static int store_value(const struct parse *p, const struct sim_option_set *set, const struct sim_option *row,
                       struct word value)
{
    void *where = field(set, row);
    bool fine = false;

    switch (row->type) {
    case SIM_OPTION_UINT:
    case SIM_OPTION_SIZE:
        fine = parse_number(row, value, where);
        break;
    case SIM_OPTION_BOOL:
        fine = parse_bool(value, where);
        break;
    case SIM_OPTION_ENUM:
        fine = parse_enum(row, value, where);
        break;
    case SIM_OPTION_TEXT:
        return store_text(p, value, where);
    }
    return fine ? 0 : refuse_value(p, row, value);
}

static int store_defaults(const struct parse *p)
{
    for (size_t s = 0; s < p->nr_sets; s++) {
        for (size_t i = 0; i < p->sets[s].count; i++) {
            const struct sim_option *row = &p->sets[s].options[i];
            int err = 0;

            if (row->fallback)
                err = store_value(p, &p->sets[s], row, (struct word){row->fallback, strlen(row->fallback)});
            if (err)
                return err;
        }
    }
    return 0;
}

static int refuse_key(const struct parse *p, struct word key)
{
    char known[VD_FAILURE_TEXT] = "";
    size_t used = 0;

    for (size_t s = 0; s < p->nr_sets; s++) {
        for (size_t i = 0; i < p->sets[s].count && used < sizeof(known); i++)
            used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
                                     p->sets[s].options[i].key);
    }
    return vd_fail_usage(p->failure, "%s: unknown option '%.*s'; known: %s", p->address, shown(key.length),
                         key.text, used ? known : "none");
}

static int store_option(struct parse *p, struct word key, struct word value)
{
    unsigned index = 0;

    for (size_t s = 0; s < p->nr_sets; s++) {
        for (size_t i = 0; i < p->sets[s].count; i++, index++) {
            const struct sim_option *row = &p->sets[s].options[i];

            if (!word_is(key, row->key))
                continue;
            if (p->seen >> index & 1)
                return vd_fail_usage(p->failure, "%s: option '%s' is given twice, the second time as '%.*s'",
                                     p->address, row->key, shown(value.length), value.text);
            p->seen |= 1ull << index;
            return store_value(p, &p->sets[s], row, value);
        }
    }
    return refuse_key(p, key);
}

/* How long the option at the front of `text` is: up to a single comma. A comma before any '=' always ends it. */
static size_t option_length(const char *text)
{
    size_t i = 0;
    bool in_value = false;

    for (; text[i]; i++) {
        if (text[i] == ',' && in_value && text[i + 1] == ',')
            i++;
        else if (text[i] == ',')
            break;
        else if (text[i] == '=')
            in_value = true;
    }
    return i;
}

static int parse_option(struct parse *p, const char *text, size_t length)
{
    const char *equals = memchr(text, '=', length);
    struct word key = {text, equals ? (size_t)(equals - text) : length};

    if (key.length == 0)
        return vd_fail_usage(p->failure,
                             "%s: an option is empty; write key=value, and ',,' for a comma in a value",
                             p->address);
    if (!equals)
        return vd_fail_usage(p->failure, "%s: option '%.*s' has no value; write %.*s=...", p->address,
                             shown(length), text, shown(length), text);
    return store_option(p, key, (struct word){equals + 1, length - key.length - 1});
}

int sim_options_parse(const struct vd_env *env, const char *address, const char *text,
                      const struct sim_option_set *sets, size_t nr_sets, struct vd_failure *failure)
{
    struct parse p = {env, address, sets, nr_sets, failure, 0};
    int err;

    assert(count_rows(sets, nr_sets) <= MAX_ROWS);
    err = store_defaults(&p);
    while (!err && *text) {
        size_t length = option_length(text);

        err = parse_option(&p, text, length);
        text += length;
        if (err || !*text)
            break;
        text++;
        if (!*text)
            err = parse_option(&p, text, 0);
    }
    if (err)
        sim_options_finish(env, sets, nr_sets);
    return err;
}

void sim_options_finish(const struct vd_env *env, const struct sim_option_set *sets, size_t nr_sets)
{
    for (size_t s = 0; s < nr_sets; s++) {
        for (size_t i = 0; i < sets[s].count; i++) {
            const struct sim_option *row = &sets[s].options[i];
            char **text = field(&sets[s], row);

            if (row->type != SIM_OPTION_TEXT)
                continue;
            vd_env_free(env, *text);
            *text = NULL;
        }
    }
}
