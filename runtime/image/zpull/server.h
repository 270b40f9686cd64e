/* The socket of zpull: its clients and their pulls. */
#ifndef ZPULL_SERVER_H
#define ZPULL_SERVER_H

/* Serves listen_fd on puller.loop. `boot`: the ZOOID partition, or -1.
 * 0 or -errno. */
int server_open(int listen_fd, int boot);

#endif
