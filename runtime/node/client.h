/* The verbs of `znode VERB`, for a person on the node. */
#ifndef NODE_CLIENT_H
#define NODE_CLIENT_H

/* argv[0] is the verb. Returns the exit status: 0 done, 1 failed, 2 usage. */
int client_main(int argc, char **argv);

/* For the files client*.c: says what is wrong with an object; returns 1. */
int client_complain(const char *object, const char *text);

/* client_volume.c */
int client_volumes(int argc, char **argv);
int client_snapshot(int argc, char **argv);
int client_volume_remove(int argc, char **argv);

#endif
