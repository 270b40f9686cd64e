/* The descriptors that this program may open, shared by those who need many.
 *
 * Each kind has a small part for itself, that no other can take from it; the
 * rest is for whoever needs it: a node with many clients and one whose
 * containers open many connections do not need the same.
 *
 * Rule of use: whoever lets others decide how many descriptors it opens asks
 * fds_free() first; all of them are counted, by fds_take() and fds_give(). */
#ifndef NET_FDS_H
#define NET_FDS_H

enum fds_kind {
	FDS_HELD,      /* handed over: listeners, TUNs, freezers, stock */
	FDS_FLOWS,     /* of clients, two each */
	FDS_OUT,       /* TCP connections of containers */
	FDS_DATAGRAMS, /* their flows of datagrams */
	FDS_KINDS,
};

/* n: how many there are of all kinds. `given` is called after each
 * fds_give(). */
void fds_init(unsigned int n, void (*given)(void));

/* How many more of this kind there may be now. */
unsigned int fds_free(enum fds_kind kind);

void fds_take(enum fds_kind kind, unsigned int n);
void fds_give(enum fds_kind kind, unsigned int n);

#endif
