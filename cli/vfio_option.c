/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parses --vfio. Two passes: whose key iommu= is depends on the address, as does whether dextd= makes sense, and the
 * address may come last.
 */
#include "vfio_option.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "cli.h"
#include "text.h"

static const struct {
    const char *name;
    const char *values;
    const char *elsewhere; /* what to say where a verb does not take it */
} keys[VFIO_KEYS] = {
    [VFIO_HOST] = {"host", "ADDRESS", ""},
    [VFIO_PORT] = {"port", "NAME", "; only 'viaduct run' makes ports"},
    [VFIO_IOMMU] = {"iommu", "ID", "; only 'viaduct run' has --iommu"},
    [VFIO_DMA] = {"dma", "STRATEGY", ""},
    [VFIO_SOCKET] = {"socket", "PATH", "; 'viaduct run' makes its own sockets, 'viaduct serve' takes one"},
    [VFIO_ROM] = {"rom", "FILE, rom=off, rom=on", ""},
    [VFIO_DEXTD] = {"dextd", "PATH", ""},
    [VFIO_GUEST] = {"guest", "BB:DD.F", ""},
    [VFIO_COMPANION] = {"companion", "PATH",
                        "; 'viaduct run' makes its own sockets, 'viaduct serve' takes one"},
    [VFIO_DMA_BYTES] = {"dma-bytes", "SIZE", ""},
    [VFIO_DMA_MAPPINGS] = {"dma-mappings", "N", ""},
};

/* What an address is, as far as keys are concerned. */
enum kind { KIND_OTHER, KIND_SIMULATED, KIND_APPLE };

struct parse {
    const char *text;
    unsigned allowed;
    enum kind kind;
    bool host_seen;
    char *value[VFIO_KEYS]; /* owned */
    char *extra;            /* options of the address, each with a comma before it */
};

static char *allowed_keys(unsigned allowed)
{
    char *names = NULL;

    for (unsigned i = 0; i < VFIO_KEYS; i++) {
        if (!(allowed & 1u << i))
            continue;
        if (names)
            text_append(&names, ", ");
        text_append(&names, keys[i].name);
    }
    return names;
}

/* The next word up to a single comma, in fresh memory with doubled commas kept; NULL at the end. */
static char *next_word(const char **at)
{
    const char *start = *at, *end = start;

    if (!start)
        return NULL;
    while (*end && !(end[0] == ',' && end[1] != ','))
        end += end[0] == ',' ? 2 : 1;
    *at = *end ? end + 1 : NULL;
    return text_format("%.*s", (int)(end - start), start);
}

static void undouble_commas(char *text)
{
    char *to = text;

    for (; *text; text++) {
        *to++ = *text;
        if (text[0] == ',' && text[1] == ',')
            text++;
    }
    *to = '\0';
}

static enum vfio_key key_of(const char *word)
{
    for (unsigned i = 0; i < VFIO_KEYS; i++) {
        size_t length = strlen(keys[i].name);

        if (!strncmp(word, keys[i].name, length) && word[length] == '=')
            return (enum vfio_key)i;
    }
    return VFIO_KEYS;
}

static enum kind kind_of(const char *text)
{
    enum kind kind = KIND_OTHER;
    char *word;

    while ((word = next_word(&text))) {
        if (!strncmp(word, "host=sim:", 9))
            kind = KIND_SIMULATED;
        else if (!strncmp(word, "host=apple:", 11))
            kind = KIND_APPLE;
        free(word);
    }
    return kind;
}

static int foreign_word(struct parse *p, const char *word)
{
    char *allowed;

    if (p->kind == KIND_SIMULATED && (p->host_seen || key_of(word) == VFIO_IOMMU)) {
        text_append(&p->extra, ",");
        text_append(&p->extra, word);
        return CLI_OK;
    }
    allowed = allowed_keys(p->allowed);
    cli_usage(
        "--vfio %s: unknown key '%.*s'; allowed are %s%s", p->text, (int)strcspn(word, "="), word, allowed,
        p->kind == KIND_SIMULATED ? ", and the address's own options after host="
                                  : "; only simulated addresses (host=sim:...) have options of their own");
    free(allowed);
    return CLI_USAGE;
}

static int own_word(struct parse *p, enum vfio_key key, const char *word)
{
    const char *value = strchr(word, '=') + 1;

    if (!(p->allowed & 1u << key)) {
        char *allowed = allowed_keys(p->allowed);

        cli_usage("--vfio %s: key '%s' is not allowed here%s%s; allowed are %s", p->text, keys[key].name,
                  keys[key].elsewhere,
                  key == VFIO_SOCKET && p->kind == KIND_APPLE ? ", and the extension's socket is dextd=" : "",
                  allowed);
        free(allowed);
        return CLI_USAGE;
    }
    if (p->value[key])
        return cli_usage(
            "--vfio %s: key '%s' is given twice, as '%s' and '%s'; give it once (a comma inside a value "
            "is written ,,)",
            p->text, keys[key].name, p->value[key], value);
    if (!*value)
        return cli_usage("--vfio %s: key '%s' has no value; write %s=%s or leave it out", p->text,
                         keys[key].name, keys[key].name, keys[key].values);
    p->value[key] = text_copy(value);
    if (key == VFIO_HOST)
        p->host_seen = true;
    else if (key != VFIO_DEXTD) /* goes into the address, where commas are doubled as well */
        undouble_commas(p->value[key]);
    return CLI_OK;
}

static int parse_words(struct parse *p)
{
    const char *at = p->text;
    int status = CLI_OK;
    char *word;

    while (status == CLI_OK && (word = next_word(&at))) {
        enum vfio_key key = key_of(word);

        if (key == VFIO_KEYS || (key == VFIO_IOMMU && p->kind == KIND_SIMULATED))
            status = foreign_word(p, word);
        else
            status = own_word(p, key, word);
        free(word);
    }
    return status;
}

bool vfio_is_id(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

    return *text && strchr(letters, *text) && text[strspn(text, others)] == '\0' && strlen(text) <= 64;
}

/* Exactly `digits` hexadecimal digits, at most `max`; *text moves behind them. */
static bool take_hex(const char **text, unsigned digits, unsigned max, unsigned *out)
{
    static const char values[] = "0123456789abcdef0123456789ABCDEF";

    for (*out = 0; digits > 0; digits--, (*text)++) {
        const char *at = **text ? strchr(values, **text) : NULL;

        if (!at)
            return false;
        *out = *out << 4 | (unsigned)(at - values) % 16;
    }
    return *out <= max;
}

static bool take_letter(const char **text, char letter)
{
    return *(*text)++ == letter;
}

static bool parse_bdf(const char *text, uint32_t *out)
{
    unsigned bus, device, function;

    if (!take_hex(&text, 2, 0xff, &bus) || !take_letter(&text, ':') || !take_hex(&text, 2, 0x1f, &device) ||
        !take_letter(&text, '.') || !take_hex(&text, 1, 7, &function) || *text)
        return false;
    *out = bus << 8 | device << 3 | function;
    return true;
}

static int check_path(const struct parse *p, enum vfio_key key)
{
    const char *path = p->value[key];
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);

    if (!path || strlen(path) < room)
        return CLI_OK;
    return cli_usage("--vfio %s: %s=%s has %zu bytes; a socket's path may have %zu; use a shorter path, or a "
                     "relative one",
                     p->text, keys[key].name, path, strlen(path), room - 1);
}

/* What the guest's mappings are to be like. */
static int check_mapping_values(const struct parse *p, struct vfio_option *option)
{
    const char *guest = p->value[VFIO_GUEST], *bytes = p->value[VFIO_DMA_BYTES];
    const char *mappings = p->value[VFIO_DMA_MAPPINGS];

    if (guest && !parse_bdf(guest, &option->guest_bdf))
        return cli_usage(
            "--vfio %s: guest=%s is not where a guest has a device; give BB:DD.F in hexadecimal as "
            "the guest's lspci prints it, for example guest=01:00.0",
            p->text, guest);
    if (bytes && !text_size(bytes, &option->dma_bytes))
        return cli_usage(
            "--vfio %s: dma-bytes=%s is not a size; bytes from 1 on, or a number with K, M, G or T, "
            "are allowed",
            p->text, bytes);
    if (mappings && !text_number(mappings, 1, UINT64_MAX, &option->dma_mappings))
        return cli_usage(
            "--vfio %s: dma-mappings=%s is not a number of mappings; whole numbers from 1 on are "
            "allowed",
            p->text, mappings);
    return CLI_OK;
}

static int check_values(const struct parse *p, struct vfio_option *option)
{
    const char *port = p->value[VFIO_PORT], *dma = p->value[VFIO_DMA];
    int status;

    if (!p->value[VFIO_HOST])
        return cli_usage(
            "--vfio %s: no host=<address>; say which device, for example host=sim:nvme,image=disk.img or "
            "host=0000:01:00.0 ('viaduct list' shows them)",
            p->text);
    if (port && !vfio_is_id(port))
        return cli_usage(
            "--vfio %s: port=%s is not a name; a letter, then at most 63 letters, digits, '-', '.' and "
            "'_' are allowed",
            p->text, port);
    if (p->value[VFIO_DEXTD] && p->kind != KIND_APPLE)
        return cli_usage("--vfio %s: dextd=%s says where an extension is reached, and only devices of one "
                         "(host=apple:BB:DD.F) "
                         "are; leave it out",
                         p->text, p->value[VFIO_DEXTD]);
    if (dma && vd_strategy_parse(dma, &option->strategy))
        return cli_usage(
            "--vfio %s: dma=%s is not a strategy; allowed are auto, identity, offset, pool and paravirt",
            p->text, dma);
    status = check_path(p, VFIO_SOCKET);
    if (status == CLI_OK)
        status = check_path(p, VFIO_COMPANION);
    return status == CLI_OK ? check_mapping_values(p, option) : status;
}

/* host= and what belongs to it. */
static char *build_address(const struct parse *p)
{
    const char *dextd = p->value[VFIO_DEXTD];

    return text_format("%s%s%s%s", p->value[VFIO_HOST], p->extra ? p->extra : "", dextd ? ",socket=" : "",
                       dextd ? dextd : "");
}

static char *take_value(struct parse *p, enum vfio_key key)
{
    char *value = p->value[key];

    p->value[key] = NULL;
    return value;
}

/* Moves the words over. */
static void take(struct parse *p, struct vfio_option *option)
{
    const char *rom = p->value[VFIO_ROM];
    bool on = rom && !strcmp(rom, "on"), off = rom && !strcmp(rom, "off");

    option->text = text_copy(p->text);
    option->address = build_address(p);
    option->port = take_value(p, VFIO_PORT);
    option->iommu = take_value(p, VFIO_IOMMU);
    option->socket = take_value(p, VFIO_SOCKET);
    option->rom = rom && !on && !off ? text_copy(rom) : NULL;
    option->no_rom = off;
    option->guest = take_value(p, VFIO_GUEST);
    option->companion = take_value(p, VFIO_COMPANION);
}

int vfio_list_add(struct vfio_list *list, const char *text, unsigned allowed)
{
    struct parse p = {.text = text, .allowed = allowed, .kind = kind_of(text)};
    struct vfio_option option = {.strategy = VD_STRATEGY_AUTO, .guest_bdf = VD_COMPANION_BDF_UNKNOWN};
    int status = parse_words(&p);

    if (status == CLI_OK)
        status = check_values(&p, &option);
    if (status == CLI_OK) {
        take(&p, &option);
        list->items = text_grow(list->items, list->count + 1, sizeof(*list->items));
        list->items[list->count++] = option;
    }
    for (unsigned i = 0; i < VFIO_KEYS; i++)
        free(p.value[i]);
    free(p.extra);
    return status;
}

void vfio_list_finish(struct vfio_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].text);
        free(list->items[i].address);
        free(list->items[i].port);
        free(list->items[i].iommu);
        free(list->items[i].socket);
        free(list->items[i].rom);
        free(list->items[i].guest);
        free(list->items[i].companion);
    }
    free(list->items);
    *list = (struct vfio_list){0};
}
