/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strings for the command: allocation that does not come back empty-handed, a growing list of words, numbers and sizes
 * as people write them, quoting for a shell.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory, or the process ends with a message: there is nothing useful a command can do then. */
void *text_alloc(size_t count, size_t size);
/* realloc for an array; fresh elements are not cleared. */
void *text_grow(void *memory, size_t count, size_t size);
char *text_copy(const char *text);
/* As printf, into fresh memory. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* *text becomes "*text" + "more"; *text may be NULL. */
void text_append(char **text, const char *more);

/* A NULL-terminated list of owned words, fit for exec. Zero-fill to start. */
struct text_list {
    char **words;
    size_t count;
};

/* Takes `word` over. */
void text_list_take(struct text_list *list, char *word);
void text_list_add(struct text_list *list, const char *word);
/* Both words of an option. */
void text_list_pair(struct text_list *list, const char *option, char *value_taken);
void text_list_finish(struct text_list *list);

/* A decimal number from min to max, all of `text`. */
bool text_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* Mebibytes from "512", "512M", "2G" or "1T"; false when it is none of these or does not fit. */
bool text_mebibytes(const char *text, uint64_t *out);
/* Bytes from "65536", "64K", "2M", "1G" or "1T"; likewise. */
bool text_size(const char *text, uint64_t *out);
/* Bytes for people: "1.5 GiB". Returns `buffer`. */
char *text_bytes(uint64_t bytes, char *buffer, size_t size);

/* The word as a POSIX shell takes it, in fresh memory. */
char *text_shell_quote(const char *word);

#endif
