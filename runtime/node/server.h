/* znode.sock: answers of the daemon to a person on the node. */
#ifndef NODE_SERVER_H
#define NODE_SERVER_H

#include "app.h"

/* Serves on listening socket `fd`. 0 or -errno. */
int server_open(int fd);
/* Answers who waits for this application. */
void server_app_changed(struct app *app);

#endif
