/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command `viaduct`: picks the verb. Each verb has a file of its own; this one holds only their list.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "text.h"

static const struct cli_verb *const verbs[] = {&cli_verb_list, &cli_verb_run, &cli_verb_serve,
                                               &cli_verb_stats, &cli_verb_doctor};
#define NR_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static int print_help(void)
{
    printf("Usage: viaduct <verb> [options]\n\nGives PCI devices to virtual machines.\n\nVerbs:\n");
    for (size_t i = 0; i < NR_VERBS; i++)
        printf("  %-8s  %s\n", verbs[i]->name, verbs[i]->summary);
    printf("\n'viaduct help <verb>' and 'viaduct <verb> --help' tell more. The manual: man viaduct\n");
    return cli_finish_output(CLI_OK);
}

static const struct cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < NR_VERBS; i++) {
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    }
    return NULL;
}

static int unknown(const char *what, const char *word)
{
    char *allowed = NULL;

    for (size_t i = 0; i < NR_VERBS; i++) {
        text_append(&allowed, verbs[i]->name);
        text_append(&allowed, ", ");
    }
    cli_usage("unknown %s '%s'; allowed are %shelp, --help and --version", what, word, allowed);
    free(allowed);
    return CLI_USAGE;
}

static int help(int argc, char **argv)
{
    const struct cli_verb *verb;

    if (argc < 1)
        return print_help();
    verb = find_verb(argv[0]);
    if (!verb)
        return unknown("verb", argv[0]);
    cli_verb_help(verb);
    return cli_finish_output(CLI_OK);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    const struct cli_verb *verb;

    if (!word)
        return unknown("verb", "");
    if (!strcmp(word, "--version")) {
        printf("viaduct %s\n", vd_version());
        return cli_finish_output(CLI_OK);
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
        return help(argc - 2, argv + 2);
    verb = find_verb(word);
    if (!verb)
        return unknown(word[0] == '-' ? "option" : "verb", word);
    return verb->run(verb, argc - 2, argv + 2);
}
