/* The verbs of `znode VERB`, for a person on the node. */
#ifndef NODE_CLIENT_H
#define NODE_CLIENT_H

/* argv[0] is the verb. Returns the exit status: 0 done, 1 failed, 2 usage. */
int client_main(int argc, char **argv);

#endif
