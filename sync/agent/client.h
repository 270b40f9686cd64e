/* `zagent status`: asks the daemon of this node. */
#ifndef AGENT_CLIENT_H
#define AGENT_CLIENT_H

int client_main(int argc, char **argv);

#endif
