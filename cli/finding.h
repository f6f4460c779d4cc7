/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `viaduct doctor` finds: each finding is printed when it is made, or kept for the JSON document.
 */
#ifndef CLI_FINDING_H
#define CLI_FINDING_H

#include <stdbool.h>

enum verdict { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct json_object;

struct findings {
    const char *device; /* the address that findings are about now; NULL: this host */
    bool fit;           /* nothing has failed */
    bool json, colour;
    struct json_object *list;
};

void findings_init(struct findings *findings, bool json);
/* From now on findings are about this device; NULL: this host. The text lives as long as it is in use. */
void findings_about(struct findings *findings, const char *device);
/* Takes `text`, fresh memory. `remedy` says how to mend it, and is left out when the verdict is FINDING_OK. */
void finding_add(struct findings *findings, const char *name, enum verdict verdict, char *text_taken,
                 const char *remedy);
/* Prints the document when JSON is wanted, and frees. CLI_OK, or CLI_FAILED when something failed. */
int findings_finish(struct findings *findings);

#endif
