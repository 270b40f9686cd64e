/* IP packets of containers: bytes to a checked struct, and headers of what is
 * sent to them. No I/O.
 *
 * Who chose the bytes: a program in a container, which may have CAP_NET_RAW. It
 * must not make znet read past the packet; whom it may speak as and to is
 * decided by others. Fragments and IPv6 extension headers are refused: the TUN
 * takes any TCP segment, and datagrams of up to 65,492 bytes, whole. */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"

enum {
	PACKET_TCP_FIN = 1,
	PACKET_TCP_SYN = 2,
	PACKET_TCP_RST = 4,
	PACKET_TCP_ACK = 16,
};

enum {
	PACKET_UDP_HEADER = 8,
	PACKET_ECHO_HEADER = 8,
	PACKET_HEADER_MAX = 40 + 20,	    /* IPv6 and TCP without options */
	PACKET_ERROR_MAX = 40 + 8 + 40 + 8, /* ICMP about such a packet */
};

struct packet {
	bool v6;
	uint8_t tcp_flags;
	struct key key; /* inside is the sender */
	uint8_t *ip;
	size_t ip_size;	    /* of its header */
	uint8_t *transport; /* TCP or UDP header, or the ICMP message */
	size_t size;	    /* from there to the end */
	size_t header_size; /* of the transport header */
};

/* Checks `size` bytes and describes them; TCP, UDP and echo requests only.
 * 0; -EBADMSG what is no packet, -EPROTONOSUPPORT, or -EOPNOTSUPP for a
 * fragment. */
int packet_parse(struct packet *p, uint8_t *data, size_t size);

/* Whether p, which packet_parse() did not take, says by ICMPv6 that nobody
 * listens where a datagram was sent to. Then *sent is that: key.inside is the
 * container, transport and size are the UDP header and what is behind it, size
 * 0 where not all of it is quoted. */
bool packet_refusal(const struct packet *p, struct packet *sent);

/* Ends the packet at ip after `size` bytes, which are headers. */
void packet_cut(uint8_t *ip, size_t size);

/* What is sent to a container, from key->outside to key->inside. */

/* IP header and UDP header for a datagram of `size` bytes; its checksum holds
 * what the device begins with (the pseudo header). Returns their size. */
size_t packet_udp(uint8_t out[PACKET_HEADER_MAX], const struct key *key,
		  size_t size);
/* The IP header for an ICMP message of `size` bytes in `message`, whose
 * identifier becomes the container's and whose checksum is made. */
size_t packet_echo(uint8_t out[PACKET_HEADER_MAX], const struct key *key,
		   uint8_t *message, size_t size);
/* A reset that answers p. Returns the size of the whole packet. */
size_t packet_reset(uint8_t out[PACKET_HEADER_MAX], const struct packet *p);
/* An ICMP error about what was sent by the flow of key: `error` is the -errno
 * with which the node's own try ended. quoted: the first 8 bytes behind the IP
 * header; of a datagram or an echo they may be NULL. */
size_t packet_error(uint8_t out[PACKET_ERROR_MAX], const struct key *key,
		    int error, const uint8_t quoted[8]);

/* Puts into a TCP header the sum of the pseudo header of a packet whose IP
 * header is at `ip`; `size` from the TCP header to the end. */
void packet_tcp_pseudo(uint8_t *ip, uint8_t *tcp, size_t size);

#endif
