/* Asking the init that runs, over its socket. */
#ifndef INIT_CLIENT_H
#define INIT_CLIENT_H

#include <stdio.h>

#include "init.h"

/* One verb without key or descriptors. 0 when *reply was received (its error is
 * init's answer), or -errno. */
int client_ask(enum init_verb verb, uint32_t n, struct init_reply *reply);

/* The service table for people; fails as soon as init does not answer. 0 or
 * -errno. */
int client_services_print(FILE *out);

/* init status, poweroff, reboot; exit codes. */
int status_main(int argc, char **argv);
int poweroff_main(int argc, char **argv);
int reboot_main(int argc, char **argv);

#endif
