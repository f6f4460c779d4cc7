/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line as data: one table of options gives parsing, the list of what is allowed and the help text. Long options
 * only, as --name value or --name=value, never abbreviated. No state but what it fills in.
 */
#include "options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dextlink/place.h"

/* Where an option is allowed. */
enum { SERVE = 1, VERB = 2, LIST = 4 };

enum option_index { DEVICE, SOCKET, LIMIT_BYTES, LIMIT_MAPPINGS, JSON, VERBOSE, NR_OPTIONS };

static const struct option {
    const char *name, *argument, *help;
    unsigned where;
} options[NR_OPTIONS] = {
    [DEVICE] = {"device", "BB:DD.F=sim:KIND[,key=value...]",
                "a device and where it is; may be repeated (man viaduct-sim)", SERVE},
    [SOCKET] = {"socket", "PATH",
                "the socket, else $VIADUCT_DEXTD, else viaduct-dextd.sock in $XDG_RUNTIME_DIR or /run",
                SERVE | VERB | LIST},
    [LIMIT_BYTES] = {"limit-bytes", "SIZE", "most bytes that may be mapped for one device", SERVE},
    [LIMIT_MAPPINGS] = {"limit-mappings", "N", "most regions that may be mapped for one device", SERVE},
    [JSON] = {"json", NULL, "print the list as JSON", LIST},
    [VERBOSE] = {"verbose", NULL, "log what happens on standard error; twice: everything", SERVE},
};

static void complain(const char *format, va_list args)
{
    fputs("viaduct-dextd: error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int dextd_usage(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    complain(format, args);
    va_end(args);
    return DEXTD_USAGE;
}

int dextd_failed(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    complain(format, args);
    va_end(args);
    return DEXTD_FAILED;
}

int dextd_refused(const char *option, const struct vd_failure *failure)
{
    return failure->usage ? dextd_usage("%s%s", option, failure->text)
                          : dextd_failed("%s%s", option, failure->text);
}

int dextd_finish_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    return dextd_failed("cannot write to standard output: %s", strerror(errno));
}

static int print_help(void)
{
    const struct dextd_verb *verb;

    printf("Usage: viaduct-dextd [--device BB:DD.F=sim:KIND[,key=value...]]... [options]\n"
           "       viaduct-dextd <verb> [argument] [options]\n\n"
           "Stands for the DriverKit extension of a Mac, over simulated devices behind a Unix socket.\n\n"
           "Options:\n");
    for (size_t i = 0; i < NR_OPTIONS; i++) {
        printf("  --%s%s%s\n      %s", options[i].name, options[i].argument ? " " : "",
               options[i].argument ? options[i].argument : "", options[i].help);
        printf("%s\n", options[i].where == LIST ? " (list)" : options[i].where & VERB ? " (also verbs)" : "");
    }
    printf("  --help\n      print this text\n  --version\n      print the version\n\nVerbs, for a "
           "viaduct-dextd that runs:\n");
    for (size_t i = 0; (verb = dextd_verb(i)) != NULL; i++)
        printf("  %s%s%s\n      %s\n", verb->name, verb->argument ? " " : "",
               verb->argument ? verb->argument : "", verb->summary);
    printf("\nThe manual: man viaduct-dextd\n");
    return dextd_finish_output(DEXTD_OK);
}

/* What is known of the command line while it is read. */
struct parse {
    struct dextd_options *out;
    unsigned seen; /* one bit an option */
    int status;
};

/* Stops with a status; false, as the callers return. */
static bool stop(struct parse *p, int status)
{
    p->status = status;
    return false;
}

static const struct option *find(const char *name, size_t length)
{
    for (size_t i = 0; i < NR_OPTIONS; i++)
        if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0)
            return &options[i];
    return NULL;
}

static int unknown_option(const char *word, size_t length)
{
    char known[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < NR_OPTIONS && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "--%s, ", options[i].name);
    return dextd_usage("unknown option %.*s; allowed are %s--help and --version", (int)length, word, known);
}

/* A number by the rules of the simulated devices' options: decimal or 0x, with K, M, G or T for a size. */
static bool read_limit(enum sim_option_type type, const char *value, uint64_t *out)
{
    const struct sim_option row = {"limit", type, .min = 1};
    const struct sim_option_set set = {&row, 1, out};
    struct vd_env env;
    char text[64];

    vd_env_init_default(&env);
    return snprintf(text, sizeof(text), "limit=%s", value) < (int)sizeof(text) &&
           sim_options_parse(&env, "", text, &set, 1, NULL) == 0;
}

static bool take_limit(struct parse *p, const struct option *option, const char *value)
{
    bool size = option == &options[LIMIT_BYTES];
    uint64_t *out = size ? &p->out->quota.bytes : &p->out->quota.mappings;

    if (read_limit(size ? SIM_OPTION_SIZE : SIM_OPTION_UINT, value, out))
        return true;
    return stop(p, dextd_usage("option --%s cannot be '%s'; allowed: a number from 1%s", option->name, value,
                               size ? ", with an optional K, M, G or T" : ""));
}

static bool take_device(struct parse *p, const char *value)
{
    if (p->out->nr_devices == DEXTD_MAX_FUNCTIONS)
        return stop(p, dextd_usage("option --device is given more than %d times", DEXTD_MAX_FUNCTIONS));
    p->out->devices[p->out->nr_devices++] = value;
    return true;
}

static bool take_option(struct parse *p, const struct option *option, const char *value)
{
    enum option_index index = (enum option_index)(option - options);

    if (p->seen >> index & 1 && index != DEVICE && index != VERBOSE)
        return stop(p,
                    dextd_usage("option --%s is given twice%s%s%s", option->name,
                                value ? ", the second time as '" : "", value ? value : "", value ? "'" : ""));
    p->seen |= 1u << index;
    switch (index) {
    case DEVICE:
        return take_device(p, value);
    case SOCKET:
        p->out->socket = value;
        return true;
    case LIMIT_BYTES:
    case LIMIT_MAPPINGS:
        return take_limit(p, option, value);
    case JSON:
        p->out->json = true;
        return true;
    default:
        p->out->verbosity++;
        return true;
    }
}

static int unknown_verb(const char *word)
{
    const struct dextd_verb *verb;
    char known[128] = "";
    size_t used = 0;

    for (size_t i = 0; (verb = dextd_verb(i)) != NULL && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "", verb->name);
    return dextd_usage("unknown verb '%s'; allowed are %s, or none to serve", word, known);
}

/* A word that is no option: the verb, then its argument. */
static bool take_word(struct parse *p, const char *word)
{
    struct dextd_options *out = p->out;

    if (out->verb && !out->verb->argument)
        return stop(p, dextd_usage("'%s' takes no argument '%s'", out->verb->name, word));
    if (out->verb && out->argument)
        return stop(p, dextd_usage("'%s' takes one argument, but '%s' was given too", out->verb->name, word));
    if (out->verb) {
        out->argument = word;
        return true;
    }
    for (size_t i = 0; (out->verb = dextd_verb(i)) != NULL; i++)
        if (strcmp(out->verb->name, word) == 0)
            return true;
    return stop(p, unknown_verb(word));
}

/* The word at argv[*at] and, where it takes one, its value behind it. */
static bool take(struct parse *p, int argc, char **argv, int *at)
{
    const char *word = argv[(*at)++];
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const struct option *option;

    if (word[0] != '-')
        return take_word(p, word);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return stop(p, print_help());
    if (strcmp(word, "--version") == 0) {
        printf("viaduct-dextd %s\n", VD_VERSION);
        return stop(p, dextd_finish_output(DEXTD_OK));
    }
    option = length > 2 && word[1] == '-' ? find(word + 2, length - 2) : NULL;
    if (!option)
        return stop(p, unknown_option(word, length));
    if (equals && !option->argument)
        return stop(p,
                    dextd_usage("option --%s takes no value, but '%s' was given", option->name, equals + 1));
    if (equals || !option->argument)
        return take_option(p, option, equals ? equals + 1 : NULL);
    if (*at == argc)
        return stop(p, dextd_usage("option --%s needs a value: --%s %s", option->name, option->name,
                                   option->argument));
    return take_option(p, option, argv[(*at)++]);
}

static bool check_options(struct parse *p)
{
    const struct dextd_verb *verb = p->out->verb;
    unsigned where = !verb ? SERVE : strcmp(verb->name, "list") == 0 ? LIST : VERB;

    for (size_t i = 0; i < NR_OPTIONS; i++) {
        if (!(p->seen >> i & 1) || (options[i].where & where))
            continue;
        if (!verb)
            return stop(p, dextd_usage("option --%s is for 'viaduct-dextd list'", options[i].name));
        return stop(p, dextd_usage("option --%s is not for '%s'", options[i].name, verb->name));
    }
    if (verb && verb->argument && !p->out->argument)
        return stop(p, dextd_usage("'%s' needs an argument: %s %s", verb->name, verb->name, verb->argument));
    return true;
}

/* What the words alone show to be wrong with the devices. */
static bool check_devices(struct parse *p, struct dextd_address *addresses)
{
    struct dextd_options *out = p->out;
    struct vd_failure failure;

    for (unsigned i = 0; i < out->nr_devices; i++) {
        if (dextd_spec_address(out->devices[i], &addresses[i], &failure))
            return stop(p, dextd_refused("--device ", &failure));
        for (unsigned k = 0; k < i; k++)
            if (dextd_address_equal(addresses[i], addresses[k]))
                return stop(p, dextd_usage("--device %s: the address is given to another device already",
                                           out->devices[i]));
    }
    return true;
}

static void sort_devices(struct dextd_options *out, const struct dextd_address *addresses)
{
    const char *sorted[DEXTD_MAX_FUNCTIONS] = {NULL};
    unsigned count = 0;

    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < out->nr_devices; i++)
            if ((addresses[i].function != 0) == pass)
                sorted[count++] = out->devices[i];
    for (unsigned i = 0; i < count; i++)
        out->devices[i] = sorted[i];
}

static bool find_socket(struct parse *p)
{
    struct dextd_options *out = p->out;

    if (out->socket && !*out->socket)
        return stop(p, dextd_usage("option --socket cannot be ''; allowed: the path of a socket"));
    if (out->socket)
        return true;
    out->socket = out->place;
    if (vd_link_usual_place(out->place, sizeof(out->place)) == 0)
        return true;
    return stop(p, dextd_usage("VIADUCT_DEXTD or XDG_RUNTIME_DIR is too long for the path of a socket; "
                               "shorten it or give --socket"));
}

bool dextd_options_parse(int argc, char **argv, struct dextd_options *out, int *status)
{
    struct dextd_address addresses[DEXTD_MAX_FUNCTIONS] = {{0}};
    struct parse p = {.out = out};
    bool good = true;

    *out = (struct dextd_options){0};
    for (int at = 1; good && at < argc;)
        good = take(&p, argc, argv, &at);
    good = good && check_options(&p) && check_devices(&p, addresses) && find_socket(&p);
    if (good)
        sort_devices(out, addresses);
    *status = p.status;
    return good;
}
