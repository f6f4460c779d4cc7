/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the command tells people. Standard output carries only what was asked for; everything else goes to standard
 * error, one line a message, each written by a single call so that lines of several threads do not mix.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static void say(const char *kind, const char *format, va_list arguments)
{
    char line[4096];

    vsnprintf(line, sizeof(line), format, arguments);
    fprintf(stderr, "viaduct: %s%s\n", kind, line);
}

int cli_usage(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say("error: ", format, arguments);
    va_end(arguments);
    return CLI_USAGE;
}

int cli_failed(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say("error: ", format, arguments);
    va_end(arguments);
    return CLI_FAILED;
}

int cli_refused(const char *option, const char *value, const struct vd_error *error)
{
    const char *why = error->message[0] ? error->message : strerror(error->code ? -error->code : EIO);

    cli_failed("%s %s: %s", option, value, why);
    return error->usage ? CLI_USAGE : CLI_FAILED;
}

/* How many bytes "<text>: " takes at the start of the message; 0 when it does not start so. */
static size_t starts_with(const char *message, const char *text, size_t length)
{
    return !strncmp(message, text, length) && !strncmp(message + length, ": ", 2) ? length + 2 : 0;
}

void cli_error_strip(struct vd_error *error, const char *address)
{
    const char *text = error->message;
    size_t skip;

    if (!strncmp(text, "host=", 5))
        text += 5;
    skip = starts_with(text, address, strlen(address));
    if (!skip)
        skip = starts_with(text, address, strcspn(address, ","));
    if (skip)
        memmove(error->message, text + skip, strlen(text + skip) + 1);
}

void cli_warn(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say("warning: ", format, arguments);
    va_end(arguments);
}

void cli_note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
}

/* The library's log sink; any thread. */
static void cli_log(void *opaque, enum vd_log_level level, const char *line)
{
    static const char *const kinds[] = {"error: ", "warning: ", "", "debug: "};

    fprintf(stderr, "viaduct: %s%s\n", level <= VD_LOG_DEBUG ? kinds[level] : "", line);
}

int cli_context_create(unsigned verbosity, struct vd_context **out)
{
    struct vd_context_options options = {
        .size = sizeof(options),
        .log = cli_log,
        .log_level = verbosity > 1 ? VD_LOG_DEBUG
                     : verbosity   ? VD_LOG_INFO
                                   : VD_LOG_WARN,
    };
    int err = vd_context_create(&options, out);

    return err ? cli_failed("cannot set up the library: %s", strerror(-err)) : CLI_OK;
}

int cli_finish_output(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_failed("cannot write standard output: %s", strerror(errno));
    return status;
}
