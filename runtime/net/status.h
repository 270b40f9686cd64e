/* znet.sock: who asks gets the counts; and the client that asks. */
#ifndef NET_STATUS_H
#define NET_STATUS_H

#include "base/loop.h"

/* Answers on the listening socket. 0 or -errno. */
int status_init(struct loop *loop, int listen_fd);

/* `znet status`: asks the running znet and prints. Returns an exit code. */
int status_print(void);

#endif
