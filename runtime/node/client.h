/* The verbs of `znode VERB`, for a person on the node. */
#ifndef NODE_CLIENT_H
#define NODE_CLIENT_H

#include "znode.h"

/* argv[0] is the verb. Returns the exit status: 0 done, 1 failed, 2 usage. */
int client_main(int argc, char **argv);

/* For the files client*.c: says what is wrong with an object; returns 1. */
int client_complain(const char *object, const char *text);

/* What znode says of each application. 0 and app is to be freed, or -errno,
 * told. */
struct client_rows {
	unsigned n;
	struct znode_app *app;
};

int client_rows(struct client_rows *rows);

/* Asks znode about an application by its name; what comes along goes into fds
 * unless it is NULL. 0, or 1 after it was told. */
int client_ask(uint32_t verb, const char *name, struct znode_reply *reply,
	       struct ipc_fds *fds);

/* client_exec.c: the exit status is the program's. */
int client_exec(int argc, char **argv);

/* client_top.c */
int client_top(int argc, char **argv);
int client_logs(int argc, char **argv);

/* client_device.c */
int client_devices(int argc, char **argv);

/* client_net.c */
int client_net(int argc, char **argv);
/* client_react.c */
int client_react(int argc, char **argv);

/* client_volume.c */
int client_volumes(int argc, char **argv);
int client_snapshot(int argc, char **argv);
int client_volume_remove(int argc, char **argv);

#endif
