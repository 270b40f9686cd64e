/* zagent.sock: zagent.h has the messages. */
#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

/* Accepts from listen_fd, which stays the caller's. 0 or -errno. */
int server_open(int listen_fd);
/* The connection to the hub goes: whoever waits for it is told. */
void server_offline(void);

#endif
