/* init.sock: who may ask init for what.
 *
 * Rule of use: the socket is open to every uid, so everything here treats its
 * peer as hostile: fixed tables, a bounded number of connections for each uid,
 * one request a callback, nothing that waits for the peer. */
#ifndef INIT_SERVER_H
#define INIT_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/loop.h"
#include "init.h"

enum {
	SERVER_CONNECTIONS = 64,
	SERVER_PER_UID = 8, /* of uids other than root */
};

/* Binds init.sock in path_run() and serves it. `end` is called (once) with
 * INIT_POWEROFF or INIT_REBOOT. 0 or -errno. */
int server_init(struct loop *loop, void (*end)(enum init_verb));

/* What the store calls when an entry of `kind` changed. */
void server_changed(uint32_t kind);

/* Ends the streams whose readers hold tombstones back; true if there was one.
 */
bool server_laggards_end(void);

#endif
