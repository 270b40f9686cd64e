/* The service `net`: the node's own addresses. */
#ifndef INIT_NET_H
#define INIT_NET_H

/* Brings every Ethernet interface up, now and when it appears: with the
 * addresses of node.json, else by DHCP (one udhcpc each, kept running) and
 * router advertisements (the kernel). Keeps path_run()/resolv.conf. The exit
 * code. */
int net_main(int argc, char **argv);

#endif
