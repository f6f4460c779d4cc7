/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads what programs of macOS print. Portable and without side effects: text goes in, so that all of it is tested on
 * other systems. Texts that are none of these programs' give "not known", never an error.
 */
#ifndef CLI_MAC_PARSE_H
#define CLI_MAC_PARSE_H

#include <stdbool.h>

/* Ordered: of several copies of the extension, the one with the lowest state counts. */
enum mac_extension_state {
    MAC_EXTENSION_ENABLED,
    MAC_EXTENSION_WAITING,  /* for the user to allow it */
    MAC_EXTENSION_DISABLED, /* the user switched it off */
    MAC_EXTENSION_OTHER,
    MAC_EXTENSION_LEAVING, /* removed at the next restart */
    MAC_EXTENSION_ABSENT,
};

struct mac_extension {
    enum mac_extension_state state;
    char id[128];     /* "" when absent */
    char version[64]; /* as listed, "1.0/1" */
    char words[96];   /* the state as macOS puts it */
    bool leftover;    /* another copy goes at the next restart */
};

/* True for the name or the bundle id of an extension of ours, or of the lineage that ours is compatible with. */
bool mac_is_ours(const char *name);

/* `systemextensionsctl list`. False when the text is no such list. */
bool mac_parse_extensions(const char *text, struct mac_extension *out);

enum mac_switch { MAC_UNKNOWN, MAC_OFF, MAC_ON, MAC_CUSTOM };

/* `systemextensionsctl developer`; *refused: it does not say while System Integrity Protection is on. */
enum mac_switch mac_parse_developer(const char *text, bool *refused);
/* `csrutil status`; MAC_CUSTOM: parts of it are off. */
enum mac_switch mac_parse_sip(const char *text);
/* `sw_vers`: "15.5" and its first number. False when the text has no version. */
bool mac_parse_version(const char *text, char *version, unsigned size, unsigned *major);

enum mac_right {
    MAC_RIGHT_ABSENT,
    MAC_RIGHT_OTHERS, /* the key is there, but not true and without the value */
    MAC_RIGHT_HELD,
};

/*
 * `codesign -d --entitlements -`, in the words of newer systems or as a property list: does `key` stand there with true
 * or with the string `value`? With a NULL value any value will do.
 */
enum mac_right mac_parse_right(const char *text, const char *key, const char *value);

struct mac_thunderbolt {
    unsigned ports;
    unsigned speed; /* Gb/s of the fastest port; 0: not known */
    bool is_limit;  /* the speed is what a free port can do, not what a cable does now */
    char *devices;  /* "Name (80 Gb/s, USB4 v2), ...", fresh memory; NULL: none attached */
};

/* `system_profiler SPThunderboltDataType -json`. False when the text is not that. */
bool mac_parse_thunderbolt(const char *text, struct mac_thunderbolt *out);
/* "Thunderbolt 5" and so on. */
const char *mac_thunderbolt_name(unsigned speed);

#endif
