#include "packet.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "octets.h"

enum {
	IP4_SIZE = 20,
	IP6_SIZE = 40,
	TCP_SIZE = 20,
	TTL = 64,
	ECHO_REQUEST = 8,
	ECHO6_REQUEST = 128,
	UNREACHABLE6 = 1, /* with its code for a port: */
	UNREACHABLE6_PORT = 4,
	ICMP_ERROR_HEADER = 8,
};

static void map4(uint8_t out[16], const uint8_t in[4])
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, in, 4);
}

/* Checking */

static int parse_ip4(struct packet *p, size_t *size)
{
	const uint8_t *ip = p->ip;

	p->ip_size = (size_t)(ip[0] & 15) * 4;
	if (*size < IP4_SIZE || p->ip_size < IP4_SIZE || p->ip_size > *size ||
	    get16(ip + 2) < p->ip_size || get16(ip + 2) > *size)
		return -EBADMSG;
	*size = get16(ip + 2);
	/* More fragments, or not the first. */
	if (get16(ip + 6) & 0x3fff)
		return -EOPNOTSUPP;
	p->key.protocol = ip[9];
	map4(p->key.inside, ip + 12);
	map4(p->key.outside, ip + 16);
	return 0;
}

static int parse_ip6(struct packet *p, size_t *size)
{
	const uint8_t *ip = p->ip;

	p->v6 = true;
	p->ip_size = IP6_SIZE;
	if (*size < IP6_SIZE || get16(ip + 4) > *size - IP6_SIZE)
		return -EBADMSG;
	*size = IP6_SIZE + (size_t)get16(ip + 4);
	if (ip[6] == IPPROTO_FRAGMENT)
		return -EOPNOTSUPP;
	p->key.protocol = ip[6];
	memcpy(p->key.inside, ip + 8, 16);
	memcpy(p->key.outside, ip + 24, 16);
	/* What looks like IPv4 in disguise would be policed as IPv4. */
	if (address_is_mapped(p->key.inside) ||
	    address_is_mapped(p->key.outside))
		return -EBADMSG;
	return 0;
}

static int parse_tcp(struct packet *p)
{
	const uint8_t *tcp = p->transport;

	if (p->size < TCP_SIZE)
		return -EBADMSG;
	p->header_size = (size_t)(tcp[12] >> 4) * 4;
	if (p->header_size < TCP_SIZE || p->header_size > p->size)
		return -EBADMSG;
	p->tcp_flags = tcp[13];
	p->key.inside_port = get16(tcp);
	p->key.outside_port = get16(tcp + 2);
	return p->key.inside_port && p->key.outside_port ? 0 : -EBADMSG;
}

static int parse_udp(struct packet *p)
{
	const uint8_t *udp = p->transport;

	p->header_size = PACKET_UDP_HEADER;
	if (p->size < PACKET_UDP_HEADER || get16(udp + 4) < PACKET_UDP_HEADER ||
	    get16(udp + 4) > p->size)
		return -EBADMSG;
	p->size = get16(udp + 4);
	p->key.inside_port = get16(udp);
	p->key.outside_port = get16(udp + 2);
	return p->key.outside_port ? 0 : -EBADMSG;
}

static int parse_echo(struct packet *p)
{
	const uint8_t *icmp = p->transport;

	p->header_size = PACKET_ECHO_HEADER;
	if (p->size < PACKET_ECHO_HEADER)
		return -EBADMSG;
	if (icmp[0] != (p->v6 ? ECHO6_REQUEST : ECHO_REQUEST) || icmp[1] != 0)
		return -EPROTONOSUPPORT;
	p->key.inside_port = get16(icmp + 4);
	return 0;
}

int packet_parse(struct packet *p, uint8_t *data, size_t size)
{
	int error;

	*p = (struct packet){ .ip = data };
	if (size == 0)
		return -EBADMSG;
	switch (data[0] >> 4) {
	case 4:
		error = parse_ip4(p, &size);
		break;
	case 6:
		error = parse_ip6(p, &size);
		break;
	default:
		return -EBADMSG;
	}
	if (error < 0)
		return error;
	p->transport = data + p->ip_size;
	p->size = size - p->ip_size;
	if (p->key.protocol == IPPROTO_TCP)
		return parse_tcp(p);
	if (p->key.protocol == IPPROTO_UDP)
		return parse_udp(p);
	if (p->key.protocol == (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return parse_echo(p);
	return -EPROTONOSUPPORT;
}

bool packet_refusal(const struct packet *p, struct packet *sent)
{
	const size_t before = ICMP_ERROR_HEADER + IP6_SIZE;
	uint8_t *icmp = p->transport, *udp;

	*sent = (struct packet){ .v6 = true, .ip_size = IP6_SIZE };
	if (!p->v6 || !icmp || p->key.protocol != IPPROTO_ICMPV6 ||
	    p->size < before + PACKET_UDP_HEADER || icmp[0] != UNREACHABLE6 ||
	    icmp[1] != UNREACHABLE6_PORT)
		return false;
	udp = icmp + before;
	sent->ip = icmp + ICMP_ERROR_HEADER;
	if (sent->ip[0] >> 4 != 6 || sent->ip[6] != IPPROTO_UDP)
		return false;
	sent->transport = udp;
	sent->header_size = PACKET_UDP_HEADER;
	sent->size = get16(udp + 4);
	if (sent->size > p->size - before || sent->size < PACKET_UDP_HEADER)
		sent->size = 0;
	sent->key.protocol = IPPROTO_UDP;
	memcpy(sent->key.outside, sent->ip + 8, 16);
	memcpy(sent->key.inside, sent->ip + 24, 16);
	sent->key.outside_port = get16(udp);
	sent->key.inside_port = get16(udp + 2);
	return true;
}

void packet_cut(uint8_t *ip, size_t size)
{
	if (ip[0] >> 4 == 4)
		put16(ip + 2, (unsigned int)size);
	else
		put16(ip + 4, (unsigned int)(size - IP6_SIZE));
}

/* Making */

static uint32_t sum_of(const uint8_t *data, size_t size, uint32_t sum)
{
	for (; size > 1; data += 2, size -= 2)
		sum += get16(data);
	if (size)
		sum += (uint32_t)data[0] << 8;
	return sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)(sum + (sum >> 16));
}

static void ip4_make(uint8_t *ip, const struct key *key, size_t size)
{
	memset(ip, 0, IP4_SIZE);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned int)(IP4_SIZE + size));
	put16(ip + 6, 0x4000);
	ip[8] = TTL;
	ip[9] = key->protocol;
	memcpy(ip + 12, key->outside + 12, 4);
	memcpy(ip + 16, key->inside + 12, 4);
	put16(ip + 10, ~sum_fold(sum_of(ip, IP4_SIZE, 0)) & 0xffff);
}

static void ip6_make(uint8_t *ip, const struct key *key, size_t size)
{
	memset(ip, 0, IP6_SIZE);
	ip[0] = 0x60;
	put16(ip + 4, (unsigned int)size);
	ip[6] = key->protocol;
	ip[7] = TTL;
	memcpy(ip + 8, key->outside, 16);
	memcpy(ip + 24, key->inside, 16);
}

/* The header of a packet to the container with `size` bytes behind it. */
static size_t ip_make(uint8_t *ip, const struct key *key, size_t size)
{
	if (address_is_mapped(key->inside)) {
		ip4_make(ip, key, size);
		return IP4_SIZE;
	}
	ip6_make(ip, key, size);
	return IP6_SIZE;
}

static uint32_t pseudo_sum(const uint8_t *ip, uint8_t protocol, size_t size)
{
	uint32_t sum = protocol + (uint32_t)(size >> 16) +
		       (uint32_t)(size & 0xffff);

	return ip[0] >> 4 == 4 ? sum_of(ip + 12, 8, sum)
			       : sum_of(ip + 8, 32, sum);
}

size_t packet_udp(uint8_t out[PACKET_HEADER_MAX], const struct key *key,
		  size_t size)
{
	size_t ip_size = ip_make(out, key, PACKET_UDP_HEADER + size);
	uint8_t *udp = out + ip_size;

	size += PACKET_UDP_HEADER;
	put16(udp, key->outside_port);
	put16(udp + 2, key->inside_port);
	put16(udp + 4, (unsigned int)size);
	put16(udp + 6, sum_fold(pseudo_sum(out, IPPROTO_UDP, size)));
	return ip_size + PACKET_UDP_HEADER;
}

/* ICMPv6 sums the pseudo header too. */
static void icmp_sum(const uint8_t *ip, uint8_t *message, size_t size)
{
	uint32_t sum = ip[0] >> 4 == 4 ? 0
				       : pseudo_sum(ip, IPPROTO_ICMPV6, size);

	put16(message + 2, 0);
	put16(message + 2, ~sum_fold(sum_of(message, size, sum)) & 0xffff);
}

size_t packet_echo(uint8_t out[PACKET_HEADER_MAX], const struct key *key,
		   uint8_t *message, size_t size)
{
	size_t ip_size = ip_make(out, key, size);

	put16(message + 4, key->inside_port);
	icmp_sum(out, message, size);
	return ip_size;
}

void packet_tcp_pseudo(uint8_t *ip, uint8_t *tcp, size_t size)
{
	put16(tcp + 16, sum_fold(pseudo_sum(ip, IPPROTO_TCP, size)));
}

size_t packet_reset(uint8_t out[PACKET_HEADER_MAX], const struct packet *p)
{
	size_t ip_size = ip_make(out, &p->key, TCP_SIZE);
	uint8_t *tcp = out + ip_size;
	uint32_t next = get32(p->transport + 4) +
			(uint32_t)(p->size - p->header_size) +
			!!(p->tcp_flags & PACKET_TCP_SYN) +
			!!(p->tcp_flags & PACKET_TCP_FIN);

	memset(tcp, 0, TCP_SIZE);
	put16(tcp, p->key.outside_port);
	put16(tcp + 2, p->key.inside_port);
	tcp[12] = TCP_SIZE / 4 << 4;
	/* RFC 9293, 3.10.7.1. */
	if (p->tcp_flags & PACKET_TCP_ACK) {
		memcpy(tcp + 4, p->transport + 8, 4);
		tcp[13] = PACKET_TCP_RST;
	} else {
		put32(tcp + 8, next);
		tcp[13] = PACKET_TCP_RST | PACKET_TCP_ACK;
	}
	packet_tcp_pseudo(out, tcp, TCP_SIZE);
	return ip_size + TCP_SIZE;
}

/* Type and code for what the node's own try ended with. */
static void error_code(uint8_t icmp[2], const struct key *key, int error)
{
	static const struct {
		int error;
		uint8_t v4, v6; /* codes of "unreachable" */
	} codes[] = {
		{ -ECONNREFUSED, 3, 4 },
		{ -EACCES, 13, 1 },
		{ -EPERM, 13, 1 },
		{ -ENETUNREACH, 0, 0 },
	};
	bool v4 = address_is_mapped(key->inside);

	icmp[0] = v4 ? 3 : 1;
	icmp[1] = v4 ? 1 : 3; /* the host, the address */
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].error == error)
			icmp[1] = v4 ? codes[i].v4 : codes[i].v6;
	}
}

static void quote_make(uint8_t quoted[8], const struct key *key)
{
	bool v4 = address_is_mapped(key->inside);

	if (key->protocol == IPPROTO_UDP) {
		put16(quoted, key->inside_port);
		put16(quoted + 2, key->outside_port);
		put16(quoted + 4, PACKET_UDP_HEADER);
	} else {
		quoted[0] = v4 ? ECHO_REQUEST : ECHO6_REQUEST;
		put16(quoted + 4, key->inside_port);
	}
}

size_t packet_error(uint8_t out[PACKET_ERROR_MAX], const struct key *key,
		    int error, const uint8_t quoted[8])
{
	/* What is quoted went the other way. */
	struct key sent = *key, reply = *key;
	bool v4 = address_is_mapped(key->inside);
	size_t ip_size = v4 ? IP4_SIZE : IP6_SIZE, size = 8 + ip_size + 8;
	uint8_t *icmp = out + ip_size;

	memcpy(sent.inside, key->outside, 16);
	memcpy(sent.outside, key->inside, 16);
	reply.protocol = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	memset(out, 0, PACKET_ERROR_MAX);
	ip_make(out, &reply, size);
	ip_make(icmp + 8, &sent, 8);
	error_code(icmp, key, error);
	if (quoted)
		memcpy(icmp + 8 + ip_size, quoted, 8);
	else
		quote_make(icmp + 8 + ip_size, key);
	icmp_sum(out, icmp, size);
	return ip_size + size;
}
