/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The servers (`serve`, `run`) of this user that run now, and what they tell: see report.h.
 */
#ifndef CLI_SERVERS_H
#define CLI_SERVERS_H

struct json_object;

/* Adds the endpoints of the server at that statistics socket, each with its server's pid. 0 or -errno. */
int servers_ask(struct json_object *endpoints, const char *path);
/* The same for every server in the runtime directory. How many answered; warns of those that live and did not. */
unsigned servers_ask_all(struct json_object *endpoints);

#endif
