/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `viaduct doctor` finds. A check may take seconds, so text goes out as it comes.
 */
#include "finding.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"

enum { NAME_WIDTH = 14 };

static const char *const verdicts[] = {"ok", "warn", "fail"};

void findings_init(struct findings *findings, bool json)
{
    *findings = (struct findings){
        .fit = true,
        .json = json,
        .colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"),
        .list = json_object_new_array(),
    };
}

void findings_about(struct findings *findings, const char *device)
{
    findings->device = device;
    if (device && !findings->json)
        printf("\n%s\n", device);
}

static void print(const struct findings *findings, const char *name, enum verdict verdict, const char *text,
                  const char *remedy)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};

    printf("%s%-4s%s  %-*s  %s\n", findings->colour ? colours[verdict] : "", verdicts[verdict],
           findings->colour ? "\033[0m" : "", NAME_WIDTH, name, text);
    if (remedy)
        printf("%*sto mend it: %s\n", NAME_WIDTH + 8, "", remedy);
    fflush(stdout);
}

static void set_text(struct json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, value ? json_object_new_string(value) : NULL);
}

static void keep(struct findings *findings, const char *name, enum verdict verdict, const char *text,
                 const char *remedy)
{
    struct json_object *node = json_object_new_object();

    set_text(node, "device", findings->device);
    set_text(node, "name", name);
    set_text(node, "status", verdicts[verdict]);
    set_text(node, "text", text);
    set_text(node, "remedy", remedy);
    json_object_array_add(findings->list, node);
}

void finding_add(struct findings *findings, const char *name, enum verdict verdict, char *text_taken,
                 const char *remedy)
{
    findings->fit = findings->fit && verdict != FINDING_FAIL;
    if (verdict == FINDING_OK)
        remedy = NULL;
    if (findings->json)
        keep(findings, name, verdict, text_taken, remedy);
    else
        print(findings, name, verdict, text_taken, remedy);
    free(text_taken);
}

int findings_finish(struct findings *findings)
{
    struct json_object *document;

    if (findings->json) {
        document = json_object_new_object();
        set_text(document, "version", vd_version());
        json_object_object_add(document, "ok", json_object_new_boolean(findings->fit));
        json_object_object_add(document, "checks", json_object_get(findings->list));
        puts(json_object_to_json_string_ext(document,
                                            JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(document);
    }
    json_object_put(findings->list);
    return cli_finish_output(findings->fit ? CLI_OK : CLI_FAILED);
}
