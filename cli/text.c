/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strings for the command. The one place where the program ends for want of memory: the kernel then closes its sockets
 * and, on Linux, terminates QEMU (see process.c).
 */
#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void out_of_memory(void)
{
    cli_failed("out of memory");
    exit(CLI_FAILED);
}

void *text_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);

    if (!memory)
        out_of_memory();
    return memory;
}

void *text_grow(void *memory, size_t count, size_t size)
{
    size_t bytes;
    void *grown = NULL;

    if (!__builtin_mul_overflow(count, size, &bytes))
        grown = realloc(memory, bytes ? bytes : 1);
    if (!grown)
        out_of_memory();
    return grown;
}

char *text_copy(const char *text)
{
    return text_format("%s", text);
}

char *text_format(const char *format, ...)
{
    va_list arguments;
    char *text = NULL;
    int length;

    va_start(arguments, format);
    length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        out_of_memory();
    return text;
}

void text_append(char **text, const char *more)
{
    char *joined = text_format("%s%s", *text ? *text : "", more);

    free(*text);
    *text = joined;
}

void text_list_take(struct text_list *list, char *word)
{
    list->words = text_grow(list->words, list->count + 2, sizeof(*list->words));
    list->words[list->count++] = word;
    list->words[list->count] = NULL;
}

void text_list_add(struct text_list *list, const char *word)
{
    text_list_take(list, text_copy(word));
}

void text_list_pair(struct text_list *list, const char *option, char *value_taken)
{
    text_list_add(list, option);
    text_list_take(list, value_taken);
}

void text_list_finish(struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->words[i]);
    free(list->words);
    *list = (struct text_list){0};
}

bool text_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (!*text)
        return false;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
            return false;
    }
    *out = value;
    return value >= min && value <= max;
}

/* A number from 1 to `max` with at most one letter of `units`, each 2^10 of the one before, the first 2^`shift`. */
static bool scaled_number(const char *text, const char *units, unsigned shift, uint64_t max, uint64_t *out)
{
    size_t length = strlen(text);
    const char *unit = length ? strchr(units, text[length - 1]) : NULL;
    char digits[24];

    if (unit) {
        shift += 10 * (unsigned)(unit - units);
        length--;
    } else {
        shift = 0;
    }
    if (length >= sizeof(digits))
        return false;
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (!text_number(digits, 1, max >> shift, out))
        return false;
    *out <<= shift;
    return true;
}

bool text_mebibytes(const char *text, uint64_t *out)
{
    return scaled_number(text, "MGT", 0, UINT64_MAX >> 20, out);
}

bool text_size(const char *text, uint64_t *out)
{
    return scaled_number(text, "KMGT", 10, UINT64_MAX, out);
}

char *text_bytes(uint64_t bytes, char *buffer, size_t size)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    int unit = -1;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(buffer, size, "%" PRIu64 " B", bytes);
    else
        snprintf(buffer, size, "%.*f %s", value < 10 && value != (double)(int)value ? 1 : 0, value,
                 units[unit]);
    return buffer;
}

static bool is_plain(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_+=:,./-";

    return *word && word[strspn(word, plain)] == '\0';
}

char *text_shell_quote(const char *word)
{
    char *quoted, *end;

    if (is_plain(word))
        return text_copy(word);
    /* A quote becomes four characters: '\'' */
    quoted = end = text_alloc(4 * strlen(word) + 3, 1);
    *end++ = '\'';
    for (; *word; word++) {
        if (*word == '\'')
            end = stpcpy(end, "'\\''");
        else
            *end++ = *word;
    }
    *end = '\'';
    return quoted;
}
