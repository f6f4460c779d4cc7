/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the verbs share: their description as data (one table gives parsing, the list of what is allowed and the help
 * text), exit codes and messages. Everything here belongs to the main thread, cli_log() excepted.
 */
#ifndef CLI_H
#define CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viaduct/context.h>
#include <viaduct/types.h>

/* Exit codes: FAILED is the world's fault, USAGE the command line's. */
enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_option {
    const char *name;     /* without the dashes */
    const char *argument; /* NULL: none; "[...]": may be left out; else required */
    const char *help;     /* one line */
};

struct cli_verb {
    const char *name;
    const char *summary;
    const char *synopsis; /* what follows the verb */
    const struct cli_option *options;
    size_t nr_options;
    bool takes_rest; /* words after "--" are the verb's */
    int (*run)(const struct cli_verb *verb, int argc, char **argv);
};

extern const struct cli_verb cli_verb_list, cli_verb_serve, cli_verb_run, cli_verb_stats, cli_verb_doctor;

/* A walk over a verb's words; zero-fill, then set verb, argc and argv (argv[0] is the first word after the verb). */
struct cli_words {
    const struct cli_verb *verb;
    int argc;
    char **argv;
    int at;     /* the next word; after CLI_WORDS_END the first of the rest */
    int status; /* what to exit with after CLI_WORDS_STOP */
    bool stopped;
};

enum { CLI_WORDS_END = -1, CLI_WORDS_STOP = -2 };

/*
 * The index of the next option in the verb's table, with *value its argument or NULL. CLI_WORDS_END when all are
 * taken; CLI_WORDS_STOP when the verb is to exit with words->status: help was printed, or a message.
 */
int cli_words_next(struct cli_words *words, const char **value);

/* Prints the verb's help on standard output. */
void cli_verb_help(const struct cli_verb *verb);

/* One line on standard error, "viaduct: error: ...". They return CLI_USAGE and CLI_FAILED. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The library's own words, preceded by the option at fault; returns CLI_USAGE or CLI_FAILED as the library says. */
int cli_refused(const char *option, const char *value, const struct vd_error *error);
/* Takes the address, with or without its options, from the front of the library's words. */
void cli_error_strip(struct vd_error *error, const char *address);
/* "viaduct: warning: ..." and "viaduct: ..." on standard error. */
void cli_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A context that logs to standard error: warnings, from verbosity 1 what happens, from 2 everything. 0 or CLI_FAILED */
int cli_context_create(unsigned verbosity, struct vd_context **out);

/* Flushes standard output; CLI_FAILED with a message when what was printed did not arrive, else `status`. */
int cli_finish_output(int status);

#endif
