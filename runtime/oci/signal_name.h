/* Signals by name, as images, engines and Compose files have them. */
#ifndef OCI_SIGNAL_NAME_H
#define OCI_SIGNAL_NAME_H

/* The number of "SIGTERM", "term", "15" or "RTMIN+3", as programs of glibc
 * count these; 0 is one. -EINVAL where there is none. */
int signal_number(const char *name);

#endif
