/* A ticket is all that the server remembers of a session, kept by the client:
 *
 *	key name [16] | iv [12] | AES-256-GCM of (peer, session) | tag [16]
 *
 * with the name as associated data. peer is what the certificate said when it
 * was shown: not_after [8] | serial, name, uri, each [1] length and bytes.
 *
 * Bytes of a ticket come from the client and are believed only after the tag
 * was checked; then they are ours. A ticket that does not open is no error: the
 * handshake becomes a full one. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <endian.h>
#include <stdlib.h>
#include <time.h>

#include <mbedtls/gcm.h>

#include "tls_conn.h"

struct tls_conn *tls_current;

enum { NAME = 16, IV = 12, TAG = 16, TICKET_MAX = 1024 };

static uint8_t *put_text(uint8_t *p, const void *text, size_t size)
{
	*p++ = (uint8_t)size;
	memcpy(p, text, size);
	return p + size;
}

/* At most 8 + 3 + 20 + 64 + 255 bytes. */
static uint8_t *put_peer(uint8_t *p, const struct tls_peer *peer)
{
	uint64_t not_after = htobe64((uint64_t)peer->not_after);
	size_t uri_size = strlen(peer->uri);

	*p++ = peer->present;
	memcpy(p, &not_after, 8);
	p = put_text(p + 8, peer->serial, peer->serial_size);
	p = put_text(p, peer->name, strlen(peer->name));
	return put_text(p, peer->uri, uri_size);
}

/* Cuts one counted text off the front into out, with a NUL. */
static bool get_text(struct span *s, void *out, size_t out_size, size_t *size)
{
	size_t n;

	if (s->size < 1)
		return false;
	n = (uint8_t)s->data[0];
	if (s->size < 1 + n || n >= out_size)
		return false;
	memcpy(out, s->data + 1, n);
	((char *)out)[n] = '\0';
	s->data += 1 + n;
	s->size -= 1 + n;
	*size = n;
	return true;
}

static bool get_peer(struct span *s, struct tls_peer *peer)
{
	char serial[CHAIN_SERIAL_SIZE + 1];
	uint64_t not_after;
	size_t n, serial_size;

	if (s->size < 9)
		return false;
	memset(peer, 0, sizeof(*peer));
	peer->present = s->data[0];
	memcpy(&not_after, s->data + 1, 8);
	peer->not_after = (int64_t)be64toh(not_after);
	s->data += 9;
	s->size -= 9;
	if (!get_text(s, serial, sizeof(serial), &serial_size) ||
	    !get_text(s, peer->name, sizeof(peer->name), &n) ||
	    !get_text(s, peer->uri, sizeof(peer->uri), &n))
		return false;
	memcpy(peer->serial, serial, serial_size);
	peer->serial_size = (uint8_t)serial_size;
	return true;
}

static int crypt_setup(mbedtls_gcm_context *gcm,
		       const struct tls_ticket_key *key)
{
	mbedtls_gcm_init(gcm);
	return mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key->key,
				  8 * sizeof(key->key));
}

int tls_ticket_write(void *unused, const mbedtls_ssl_session *session,
		     unsigned char *start, const unsigned char *end,
		     size_t *size, uint32_t *life_s)
{
	const struct tls *tls = tls_current->tls;
	const struct tls_ticket_key *key = &tls->ticket_keys[0];
	unsigned char plain[TICKET_MAX], *p = plain;
	mbedtls_gcm_context gcm;
	size_t n;
	int err;

	p = put_peer(p, &tls_current->peer);
	err = mbedtls_ssl_session_save(session, p,
				       (size_t)(plain + TICKET_MAX - p), &n);
	n += (size_t)(p - plain);
	if (err || (size_t)(end - start) < NAME + IV + n + TAG)
		return err ? err : MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
	memcpy(start, key->name, NAME);
	wire_random(start + NAME, IV);
	err = crypt_setup(&gcm, key);
	if (!err)
		err = mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, n,
						start + NAME, IV, start, NAME,
						plain, start + NAME + IV, TAG,
						start + NAME + IV + n);
	mbedtls_gcm_free(&gcm);
	explicit_bzero(plain, sizeof(plain));
	*size = NAME + IV + n + TAG;
	*life_s = TLS_TICKET_LIFE_S;
	return err;
}

static const struct tls_ticket_key *find_key(const struct tls *tls,
					     const unsigned char *name)
{
	for (size_t i = 0; i < tls->n_ticket_keys; i++)
		if (memcmp(tls->ticket_keys[i].name, name, NAME) == 0)
			return &tls->ticket_keys[i];
	return NULL;
}

/* Into plain, TICKET_MAX bytes; how many, or -1. */
static ssize_t open_ticket(const struct tls *tls, const unsigned char *ticket,
			   size_t size, unsigned char *plain)
{
	const struct tls_ticket_key *key;
	mbedtls_gcm_context gcm;
	size_t n;
	int err;

	if (size < NAME + IV + TAG || size > NAME + IV + TAG + TICKET_MAX)
		return -1;
	key = find_key(tls, ticket);
	if (!key)
		return -1;
	n = size - NAME - IV - TAG;
	err = crypt_setup(&gcm, key);
	if (!err)
		err = mbedtls_gcm_auth_decrypt(
			&gcm, n, ticket + NAME, IV, ticket, NAME,
			ticket + NAME + IV + n, TAG, ticket + NAME + IV, plain);
	mbedtls_gcm_free(&gcm);
	return err ? -1 : (ssize_t)n;
}

/* The lifetime told to the client is only advice to it. */
static bool too_old(const mbedtls_ssl_session *session)
{
	mbedtls_ms_time_t age = mbedtls_ms_time() -
				session->ticket_creation_time;

	return age < 0 || age > (mbedtls_ms_time_t)TLS_TICKET_LIFE_S * 1000;
}

int tls_ticket_parse(void *unused, mbedtls_ssl_session *session,
		     unsigned char *ticket, size_t size)
{
	struct tls_conn *conn = tls_current;
	unsigned char plain[TICKET_MAX];
	struct tls_peer peer;
	struct span rest = { (char *)plain, 0 };
	ssize_t n = open_ticket(conn->tls, ticket, size, plain);
	int err;

	if (n < 0)
		return MBEDTLS_ERR_SSL_INVALID_MAC;
	rest.size = (size_t)n;
	if (!get_peer(&rest, &peer))
		return MBEDTLS_ERR_SSL_INVALID_MAC;
	err = mbedtls_ssl_session_load(session, (const void *)rest.data,
				       rest.size);
	explicit_bzero(plain, sizeof(plain));
	if (err)
		return err;
	peer.resumed = true;
	peer.expired = peer.present && peer.not_after < time(NULL);
	if (too_old(session) || (peer.expired && !conn->tls->allow_expired))
		return MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED;
	/* Kept only if this handshake does without a certificate. */
	conn->peer = peer;
	return 0;
}
