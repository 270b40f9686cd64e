/* The TUNs of containers, as init holds them: what containers send comes in
 * here, what they shall receive leaves here. */
#ifndef NET_TUN_H
#define NET_TUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/loop.h"
#include "fds.h"
#include "init/init.h"
#include "outlet.h"
#include "rate.h"
#include "stock.h"
#include "znet.h"

enum { TUN_MAX = 1024, TUN_IOV_MAX = 1088 };

struct traffic;
struct policy;
struct key;

struct tun {
	bool used;
	bool stale; /* not seen since the connection to init was made anew */
	int fd;
	struct watch watch;
	char container[INIT_NAME_SIZE];
	uint8_t address[16], address6[16]; /* its own; IPv4 is mapped */
	/* By IPv6 it can be reached, as far as is known: until then not, for it
	 * has refused what only by IPv4 was listened for. */
	bool has_address6;
	uint64_t refused6_ms, refused_tcp6_ms;
	char application[64], names[NET_NAMES_SIZE]; /* as in outlet.h */
	struct stock *stock[STOCK_KINDS]; /* sockets inside for the others of
					   * its application, and for clients
					   * of UDP; NULL until used */
	bool has_policy; /* and if policy is NULL, it is not at hand yet */
	struct policy *policy;
	struct timer resume; /* while it sends or is sent more than it may */
	bool down_waits;     /* something was not sent to it for that */
	struct traffic *traffic;
	struct znet_outlet counts; /* but for error and names */
	struct fds_holder fds;
	unsigned int queries;	     /* not answered by name servers yet */
	unsigned int name_streams;   /* to the resolver by TCP */
	unsigned int large;	     /* buffers that its connections hold */
	struct out_tcp *connections; /* its flows */
	struct rate fruitless;	     /* flows that carried nothing, see there */
	struct rate useless;	     /* packets, see tun_useless() */
	struct out_datagram *oldest, **newest;
};

/* What the device shall do with a packet before it delivers it. */
struct tun_offload {
	uint16_t sum_at;     /* offset of the header with the checksum, */
	uint16_t sum_offset; /* and of the checksum therein; 0: is right */
	uint16_t header_size;
	uint16_t segment_size; /* TCP: cut into such; 0: leave whole */
	bool v6;
};

/* Starts to watch init's store. 0 or -errno. */
int tun_init(struct loop *loop);

/* Who has the address (16 bytes), or NULL. */
struct tun *tun_find(const uint8_t address[16]);

/* Who is `service` to t, in t's application: of several each in its turn, which
 * then is the next one's. NULL. */
struct tun *tun_service(const struct tun *t, const char *service,
			unsigned int *turn);
/* Whether an address is of the range of containers, and whether t may reach
 * the one that has it. */
bool tun_in_range(const uint8_t address[16]);
bool tun_meets(const struct tun *t, const struct tun *other);
/* Its rules; NULL when there are none, or not yet. */
struct policy *tun_policy(struct tun *t);
/* Whether t may begin the flow of key, counted: 0; -EACCES or -ECONNREFUSED,
 * which it is told; -EAGAIN: not now, it may try again. */
int tun_judge(struct tun *t, const struct key *key);
/* Whether t may be sent more, and that it was sent n bytes. */
bool tun_down_open(struct tun *t);
void tun_down_take(struct tun *t, size_t n);
/* Counts a packet of t that led to nothing. While there are too many of these
 * all that t sends is left in its own kernel. */
void tun_useless(struct tun *t, uint64_t *count);
/* Whether t may be led to by IPv6; and that nobody listens by that now. Of UDP,
 * and of TCP. */
bool tun_takes6(const struct tun *t);
void tun_refused6(struct tun *t);
bool tun_takes_tcp6(const struct tun *t);
void tun_refused_tcp6(struct tun *t);
/* Sockets inside t (stock.h); NULL when there are too many such. */
struct stock *tun_stock(struct tun *t, unsigned int kind);

/* Sends one packet into the container; n is below TUN_IOV_MAX. One that does
 * not fit is lost, as on any link. */
void tun_send(struct tun *t, const struct iovec *iov, int n,
	      const struct tun_offload *offload);

/* Rule number `row` of a container (a name as somebody has sent it); error is
 * -ENOENT behind the last one. */
void tun_rule_describe(const char container[64], uint32_t row,
		       struct znet_rule *out);
/* Row `row` for the status; error is -ENOENT past the end. */
void tun_describe(uint32_t row, struct znet_outlet *out);

#endif
