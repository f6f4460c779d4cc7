/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walks a verb's words by its option table. Long options only, as --name value or --name=value, never abbreviated:
 * scripts must not change their meaning when an option is added.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "text.h"

void cli_verb_help(const struct cli_verb *verb)
{
    printf("Usage: viaduct %s%s%s\n\n%s\n\nOptions:\n", verb->name, *verb->synopsis ? " " : "",
           verb->synopsis, verb->summary);
    for (size_t i = 0; i < verb->nr_options; i++) {
        const struct cli_option *option = &verb->options[i];
        char left[64];

        snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        if (strlen(left) > 24)
            printf("  %s\n  %-24s  %s\n", left, "", option->help);
        else
            printf("  %-24s  %s\n", left, option->help);
    }
    printf("  %-24s  %s\n\nThe manual: man viaduct-%s\n", "--help", "print this text", verb->name);
}

static int unknown_option(const struct cli_verb *verb, const char *word, size_t length)
{
    char *allowed = NULL;

    for (size_t i = 0; i < verb->nr_options; i++) {
        text_append(&allowed, "--");
        text_append(&allowed, verb->options[i].name);
        text_append(&allowed, ", ");
    }
    text_append(&allowed, "--help");
    cli_usage("unknown option %.*s of 'viaduct %s'; allowed are %s", (int)length, word, verb->name, allowed);
    free(allowed);
    return CLI_USAGE;
}

static int stop(struct cli_words *words, int status)
{
    words->status = status;
    words->stopped = true;
    return CLI_WORDS_STOP;
}

static int find(const struct cli_verb *verb, const char *name, size_t length)
{
    for (size_t i = 0; i < verb->nr_options; i++) {
        if (strlen(verb->options[i].name) == length && !memcmp(verb->options[i].name, name, length))
            return (int)i;
    }
    return -1;
}

/* The argument of the option at words->at - 1. False after a message. */
static bool argument(struct cli_words *words, const struct cli_option *option, const char *equals,
                     const char **value)
{
    bool optional = option->argument && option->argument[0] == '[';
    const char *next = words->at < words->argc ? words->argv[words->at] : NULL;

    *value = NULL;
    if (equals && !option->argument) {
        cli_usage("option --%s takes no value, but '%s' was given", option->name, equals + 1);
        return false;
    }
    if (equals)
        *value = equals + 1;
    else if (option->argument && next && (!optional || (next[0] >= '0' && next[0] <= '9')))
        *value = words->argv[words->at++];
    else if (option->argument && !optional) {
        cli_usage("option --%s needs a value: --%s %s", option->name, option->name, option->argument);
        return false;
    }
    return true;
}

int cli_words_next(struct cli_words *words, const char **value)
{
    const char *word, *equals;
    size_t length;
    int found;

    if (words->at >= words->argc)
        return CLI_WORDS_END;
    word = words->argv[words->at++];
    if (!strcmp(word, "--") && words->verb->takes_rest)
        return CLI_WORDS_END;
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        cli_verb_help(words->verb);
        return stop(words, cli_finish_output(CLI_OK));
    }
    if (word[0] != '-')
        return stop(words, cli_usage("'viaduct %s' takes no argument '%s'; see 'viaduct help %s'",
                                     words->verb->name, word, words->verb->name));
    equals = strchr(word, '=');
    length = equals ? (size_t)(equals - word) : strlen(word);
    found = length > 2 && word[1] == '-' ? find(words->verb, word + 2, length - 2) : -1;
    if (found < 0)
        return stop(words, unknown_option(words->verb, word, length));
    return argument(words, &words->verb->options[found], equals, value) ? found : stop(words, CLI_USAGE);
}
