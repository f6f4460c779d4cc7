/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The statistics socket. The document is built anew for each peer, on the main thread, from counters that may be read
 * from any thread.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "report.h"
#include "runtime.h"
#include "text.h"

enum {
    PATIENCE_MS = 1000,     /* for a peer that does not read */
    READ_MS = 5000,         /* for a server that does not answer */
    DOCUMENT_MAX = 16 << 20 /* bytes; far above any real one */
};

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SIGPIPE is ignored */
#endif

static int open_socket(const char *path, struct sockaddr_un *name)
{
    int fd;

    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(name->sun_path))
        return -ENAMETOOLONG;
    memcpy(name->sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static int listen_at(const char *path)
{
    struct sockaddr_un name;
    int err, fd = open_socket(path, &name);
    mode_t before;

    if (fd < 0)
        return fd;
    /* Process ids come back: a socket of our own name is a dead process's. */
    unlink(path);
    before = umask(0177);
    err = bind(fd, (struct sockaddr *)&name, sizeof(name)) || listen(fd, 8) ? -errno : 0;
    umask(before);
    if (!err)
        return fd;
    close(fd);
    return err;
}

void control_open(struct control *control)
{
    char *directory = runtime_path(), *why = NULL;

    *control = (struct control){.fd = -1};
    if (runtime_prepare(directory, &why)) {
        cli_warn("'viaduct stats' will not find this process: %s", why);
    } else {
        control->path = text_format("%s/%ld.sock", directory, (long)getpid());
        control->fd = listen_at(control->path);
        if (control->fd < 0) {
            cli_warn("'viaduct stats' will not find this process: cannot listen on %s: %s", control->path,
                     strerror(-control->fd));
            control->fd = -1;
        }
    }
    free(why);
    free(directory);
}

static void send_all(int fd, const char *text, size_t length)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};

    while (length > 0) {
        ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);

        if (sent > 0) {
            text += sent;
            length -= (size_t)sent;
        } else if (sent < 0 && errno == EAGAIN) {
            if (poll(&writable, 1, PATIENCE_MS) <= 0)
                return;
        } else if (sent == 0 || errno != EINTR) {
            return;
        }
    }
}

void control_answer(const struct control *control, const struct endpoints *endpoints)
{
    int fd;

    while (control->fd >= 0 && (fd = accept(control->fd, NULL, NULL)) >= 0) {
        struct json_object *report = report_create(endpoints);
        const char *text = report ? json_object_to_json_string_ext(report, JSON_C_TO_STRING_PLAIN) : NULL;

        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        if (text)
            send_all(fd, text, strlen(text));
        json_object_put(report);
        close(fd);
    }
}

void control_close(struct control *control)
{
    if (control->fd >= 0) {
        close(control->fd);
        unlink(control->path);
    }
    free(control->path);
    *control = (struct control){.fd = -1};
}

/* Appends until the end of file. */
static int read_all(int fd, char **out)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    char *text = NULL;
    size_t used = 0;

    for (;;) {
        ssize_t got;

        text = text_grow(text, used + 65536, 1);
        if (poll(&readable, 1, READ_MS) <= 0) {
            free(text);
            return -ETIMEDOUT;
        }
        got = read(fd, text + used, 65535);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got < 0 || used > DOCUMENT_MAX) {
            free(text);
            return got < 0 ? -EIO : -EMSGSIZE;
        }
        used += (size_t)got;
        text[used] = '\0';
        if (got == 0)
            break;
    }
    *out = text;
    return 0;
}

int control_read(const char *path, char **out)
{
    struct sockaddr_un name;
    int err = 0, fd = open_socket(path, &name);

    *out = NULL;
    if (fd < 0)
        return fd;
    /* Unix sockets connect at once; a full backlog is EAGAIN. */
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)))
        err = -errno;
    if (!err)
        err = read_all(fd, out);
    close(fd);
    return err;
}
