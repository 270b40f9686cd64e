/* The descriptors that this program may open, shared by those who need many.
 *
 * Each kind has a small part for itself, that no other can take from it, and so
 * has each holder, a container or a published port: who needs most cannot leave
 * the others without any. The rest is for whoever needs it: a node with many
 * clients and one whose containers open many connections do not need the same.
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

/* What each has for itself, where there are not too many holders for that. */
enum { FDS_KEPT_MAX = 16 };

/* Zero but between fds_enter() and fds_leave(); it counts all the time. */
struct fds_holder {
	unsigned int used;
	struct fds_holder *next, **prevp;
};

/* n: how many there are of all kinds. `given` is called after each
 * fds_give(). */
void fds_init(unsigned int n, void (*given)(void));

/* From now on, until then, something is kept for h. */
void fds_enter(struct fds_holder *h);
void fds_leave(struct fds_holder *h);

/* How many more of this kind h may have now; NULL: nobody in particular. */
unsigned int fds_free(enum fds_kind kind, const struct fds_holder *h);

void fds_take(enum fds_kind kind, unsigned int n, struct fds_holder *h);
void fds_give(enum fds_kind kind, unsigned int n, struct fds_holder *h);

#endif
