/* One connection, driven by its owner's loop.
 *
 * The library is stepped, not run: between steps we see which way a handshake
 * goes (a certificate is asked for, or the session is resumed) and end it when
 * the peer's certificate breaks a rule, before any byte of ours is sent to it.
 *
 * An idle connection has no use for its record buffers, which are most of its
 * memory. tls_idle() gives them back when nothing is in them; only the counter
 * of incoming records lives there and is kept. This knows the library's
 * insides, of the one version that rootfs/packages pins. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include <mbedtls/error.h>
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/x509_crt.h>

#include "tls_conn.h"

/* ---- descriptor ---- */

static int bio_send(void *context, const unsigned char *buf, size_t size)
{
	struct tls_conn *conn = context;
	ssize_t n = send(conn->fd, buf, size, MSG_NOSIGNAL);

	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR)
		return MBEDTLS_ERR_SSL_WANT_WRITE;
	return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int bio_recv(void *context, unsigned char *buf, size_t size)
{
	struct tls_conn *conn = context;
	ssize_t n = recv(conn->fd, buf, size, 0);

	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR)
		return MBEDTLS_ERR_SSL_WANT_READ;
	return MBEDTLS_ERR_SSL_CONN_EOF;
}

/* ---- errors ---- */

static int fail(struct tls_conn *conn, int err, const char *why)
{
	free(conn->why);
	conn->why = strdup(why);
	return err;
}

/* Alerts by which the other side says that it does not take our certificate
 * (RFC 8446, 6.2). */
static const char *refusal(int alert)
{
	switch (alert) {
	case MBEDTLS_SSL_ALERT_MSG_BAD_CERT:
	case MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT:
	case MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN:
		return "the other side refused our certificate";
	case MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED:
		return "the other side says our certificate is revoked";
	case MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED:
		return "the other side says our certificate has expired";
	case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA:
		return "the other side does not know who issued our "
		       "certificate";
	case MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED:
		return "the other side denies us access";
	case MBEDTLS_SSL_ALERT_MSG_CERT_REQUIRED:
		return "the other side wants a certificate";
	default:
		return NULL;
	}
}

static int fail_alert(struct tls_conn *conn)
{
	int alert = conn->ssl.in_msg[1];
	char text[TLS_WHY_SIZE];

	if (refusal(alert))
		return fail(conn, -EACCES, refusal(alert));
	snprintf(text, sizeof(text), "the other side ended TLS, alert %d",
		 alert);
	return fail(conn, -EPROTO, text);
}

/* An error of the library as one of ours; waiting is told by events. */
static int library_error(struct tls_conn *conn, int code)
{
	char text[TLS_WHY_SIZE];

	switch (code) {
	case MBEDTLS_ERR_SSL_WANT_READ:
		conn->events = EPOLLIN;
		return -EAGAIN;
	case MBEDTLS_ERR_SSL_WANT_WRITE:
		conn->events = EPOLLOUT;
		return -EAGAIN;
	case MBEDTLS_ERR_SSL_CONN_EOF:
	case MBEDTLS_ERR_SSL_INTERNAL_ERROR:
		return fail(conn, -ECONNRESET, "the connection was lost");
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		return fail_alert(conn);
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
		return fail(conn, -ENOMEM, "out of memory");
	default:
		mbedtls_strerror(code, text, sizeof(text));
		return fail(conn, -EPROTO, text);
	}
}

const char *tls_error(const struct tls_conn *conn)
{
	return conn->why ? conn->why : "closed by the other side";
}

/* ---- life ---- */

int tls_open(struct tls *tls, int fd, const char *server_name,
	     struct tls_conn **out)
{
	struct tls_conn *conn = calloc(1, sizeof(*conn));

	*out = NULL;
	if (!conn)
		return -ENOMEM;
	mbedtls_ssl_init(&conn->ssl);
	conn->fd = fd;
	conn->events = EPOLLIN;
	conn->tls = tls_ref(tls);
	conn->own = tls->own;
	conn->own->refs++;
	conn->walk = calloc(1, sizeof(*conn->walk));
	if (!conn->walk ||
	    mbedtls_ssl_setup(&conn->ssl, &conn->own->config) != 0 ||
	    (!tls->server &&
	     mbedtls_ssl_set_hostname(&conn->ssl, server_name) != 0)) {
		tls_conn_free(conn);
		return -ENOMEM;
	}
	mbedtls_ssl_set_bio(&conn->ssl, conn, bio_send, bio_recv, NULL);
	*out = conn;
	return 0;
}

void tls_conn_free(struct tls_conn *conn)
{
	if (!conn)
		return;
	mbedtls_ssl_free(&conn->ssl);
	tls_own_free(conn->own);
	tls_free(conn->tls);
	free(conn->walk);
	if (conn->session)
		mbedtls_platform_zeroize(conn->session, conn->session_size);
	free(conn->session);
	free(conn->why);
	free(conn);
}

/* ---- buffers ---- */

/* One allocation made by the library; its exact size is not public. */
static size_t buffer_size(const struct tls_conn *conn, bool in)
{
	static size_t sizes[2];
	size_t *size = &sizes[in];

	if (!*size)
		*size = malloc_usable_size(in ? conn->ssl.in_buf
					      : conn->ssl.out_buf);
	return *size;
}

static void buffer_free(unsigned char **buf, size_t size)
{
	mbedtls_platform_zeroize(*buf, size);
	mbedtls_free(*buf);
	*buf = NULL;
}

void tls_idle(struct tls_conn *conn)
{
	mbedtls_ssl_context *ssl = &conn->ssl;

	if (conn->parked || !conn->done ||
	    ssl->state != MBEDTLS_SSL_HANDSHAKE_OVER || ssl->in_left ||
	    ssl->in_offt || ssl->in_hslen || ssl->keep_current_message ||
	    ssl->badmac_seen_or_in_hsfraglen || ssl->out_left)
		return;
	memcpy(conn->in_counter, ssl->in_ctr, sizeof(conn->in_counter));
	size_t in = buffer_size(conn, true), out = buffer_size(conn, false);

	buffer_free(&ssl->in_buf, in);
	buffer_free(&ssl->out_buf, out);
	conn->parked = true;
}

static int unpark(struct tls_conn *conn)
{
	mbedtls_ssl_context *ssl = &conn->ssl;

	if (!conn->parked)
		return 0;
	ssl->in_buf = mbedtls_calloc(1, buffer_size(conn, true));
	ssl->out_buf = mbedtls_calloc(1, buffer_size(conn, false));
	if (!ssl->in_buf || !ssl->out_buf) {
		mbedtls_free(ssl->in_buf);
		mbedtls_free(ssl->out_buf);
		ssl->in_buf = ssl->out_buf = NULL;
		return fail(conn, -ENOMEM, "out of memory");
	}
	/* As mbedtls_ssl_reset_in_pointers() and its counterpart do. */
	ssl->in_ctr = ssl->in_buf;
	ssl->in_hdr = ssl->in_buf + 8;
	ssl->in_len = ssl->in_hdr + 3;
	ssl->in_iv = ssl->in_msg = ssl->in_hdr + 5;
	ssl->in_msglen = 0;
	memcpy(ssl->in_ctr, conn->in_counter, sizeof(conn->in_counter));
	ssl->out_ctr = ssl->out_buf;
	ssl->out_hdr = ssl->out_buf + 8;
	ssl->out_len = ssl->out_hdr + 3;
	ssl->out_iv = ssl->out_msg = ssl->out_hdr + 5;
	conn->parked = false;
	return 0;
}

/* ---- handshake ---- */

static int on_certificate(void *context, mbedtls_x509_crt *crt, int depth,
			  uint32_t *flags)
{
	struct tls_conn *conn = context;

	conn->walked = depth == 0;
	return chain_step(conn->walk, crt, depth, flags);
}

static void begin(struct tls_conn *conn)
{
	conn->walk->pin = conn->tls->pin;
	conn->walk->now = time(NULL);
	conn->walk->use = conn->tls->server ? CHAIN_USE_CLIENT
					    : CHAIN_USE_SERVER;
	mbedtls_ssl_set_verify(&conn->ssl, on_certificate, conn);
}

static void accept_peer(struct tls_conn *conn)
{
	const struct chain_facts *facts = &conn->walk->leaf;
	struct tls_peer *peer = &conn->peer;

	*peer = (struct tls_peer){ .present = true,
				   .expired = conn->walk->expired,
				   .serial_size = facts->serial_size,
				   .not_after = facts->not_after };
	memcpy(peer->name, facts->name, sizeof(peer->name));
	memcpy(peer->uri, facts->uri, sizeof(peer->uri));
	memcpy(peer->serial, facts->serial, sizeof(peer->serial));
}

/* After its Finished a server speaks under the application's keys (RFC 8446,
 * 4.4.4); the library goes over to them only at the end, and its alert would
 * not be understood. */
static void send_alert(struct tls_conn *conn, unsigned char alert)
{
	mbedtls_ssl_context *ssl = &conn->ssl;

	if (conn->tls->server && ssl->out_left == 0) {
		ssl->transform_out = ssl->transform_application;
		memset(ssl->cur_out_ctr, 0, sizeof(ssl->cur_out_ctr));
	}
	(void)mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
					     alert);
}

/* Once the peer's chain was walked: yes or no. */
static int judge(struct tls_conn *conn)
{
	struct chain_walk *walk = conn->walk;
	uint32_t flags = mbedtls_ssl_get_verify_result(&conn->ssl);
	bool rejected = walk->rejected ||
			flags & ~(uint32_t)MBEDTLS_X509_BADCERT_EXPIRED;
	bool expired = walk->expired && !conn->tls->allow_expired;

	conn->walked = false;
	if (!rejected && !expired) {
		accept_peer(conn);
		return 0;
	}
	send_alert(conn, rejected ? MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA
				  : MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED);
	return fail(conn, rejected ? -EKEYREJECTED : -EKEYEXPIRED,
		    walk->why[0] ? walk->why : "certificate is not for this");
}

/* Of the library, but in no header of it. */
void mbedtls_ssl_handshake_free(mbedtls_ssl_context *ssl);
void mbedtls_ssl_transform_free(mbedtls_ssl_transform *transform);

/* A client keeps this state for tickets to come; for a server it is over, and
 * costs five kilobytes. */
static void free_handshake(mbedtls_ssl_context *ssl)
{
	mbedtls_ssl_handshake_free(ssl);
	mbedtls_free(ssl->handshake);
	ssl->handshake = NULL;
	mbedtls_ssl_transform_free(ssl->transform_negotiate);
	mbedtls_free(ssl->transform_negotiate);
	ssl->transform_negotiate = NULL;
}

/* What only the handshake needed, the peer's certificate first of all. */
static void finish(struct tls_conn *conn)
{
	mbedtls_ssl_session *session = conn->ssl.session;

	if (conn->tls->server)
		free_handshake(&conn->ssl);

	free(conn->walk);
	conn->walk = NULL;
	if (session && session->peer_cert) {
		mbedtls_x509_crt_free(session->peer_cert);
		mbedtls_free(session->peer_cert);
		session->peer_cert = NULL;
	}
	conn->done = true;
}

static bool is_over(const struct tls_conn *conn)
{
	return conn->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER;
}

/* A resumed handshake never comes through these. */
static void note_full(struct tls_conn *conn)
{
	if (conn->full || (conn->ssl.state != MBEDTLS_SSL_CERTIFICATE_REQUEST &&
			   conn->ssl.state != MBEDTLS_SSL_SERVER_CERTIFICATE))
		return;
	conn->full = true;
	memset(&conn->peer, 0, sizeof(conn->peer));
}

int tls_handshake(struct tls_conn *conn)
{
	int code;

	if (conn->done)
		return 1;
	if (!conn->walk->use)
		begin(conn);
	tls_current = conn;
	note_full(conn);
	code = mbedtls_ssl_handshake_step(&conn->ssl);
	tls_current = NULL;
	if (conn->walked) {
		int err = judge(conn);

		if (err)
			return err;
	}
	if (code)
		return library_error(conn, code);
	if (!is_over(conn))
		return 0;
	if (!conn->tls->server && conn->full && !conn->peer.present)
		return fail(conn, -EKEYREJECTED, "no certificate was shown");
	finish(conn);
	return 1;
}

/* ---- data ---- */

/* Keeps the newest ticket of a client: the pin that vouched for the server,
 * then the library's bytes. */
static void keep_session(struct tls_conn *conn)
{
	mbedtls_ssl_session session;
	uint8_t *buf = malloc(TLS_SESSION_MAX);
	size_t size;

	if (!buf)
		return;
	mbedtls_ssl_session_init(&session);
	memcpy(buf, conn->tls->pin, CHAIN_PIN_SIZE);
	if (!conn->peer.expired &&
	    mbedtls_ssl_get_session(&conn->ssl, &session) == 0 &&
	    mbedtls_ssl_session_save(&session, buf + CHAIN_PIN_SIZE,
				     TLS_SESSION_MAX - CHAIN_PIN_SIZE,
				     &size) == 0) {
		free(conn->session);
		conn->session = buf;
		conn->session_size = CHAIN_PIN_SIZE + size;
		buf = NULL;
	}
	free(buf);
	mbedtls_ssl_session_free(&session);
}

void tls_session_offer(struct tls_conn *conn, struct span bytes)
{
	mbedtls_ssl_session session;

	if (bytes.size <= CHAIN_PIN_SIZE ||
	    memcmp(bytes.data, conn->tls->pin, CHAIN_PIN_SIZE) != 0)
		return;
	mbedtls_ssl_session_init(&session);
	if (mbedtls_ssl_session_load(
		    &session, (const void *)(bytes.data + CHAIN_PIN_SIZE),
		    bytes.size - CHAIN_PIN_SIZE) == 0)
		(void)mbedtls_ssl_set_session(&conn->ssl, &session);
	mbedtls_ssl_session_free(&session);
}

size_t tls_session_take(struct tls_conn *conn, void *buf)
{
	size_t size = conn->session_size;

	if (!conn->session)
		return 0;
	memcpy(buf, conn->session, size);
	mbedtls_platform_zeroize(conn->session, size);
	free(conn->session);
	conn->session = NULL;
	conn->session_size = 0;
	return size;
}

/* Whether a read that gave nothing left something to do at once: a message of
 * the handshake that came after it. */
static bool again(struct tls_conn *conn, int code)
{
	if (code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
		keep_session(conn);
		return true;
	}
	return code == MBEDTLS_ERR_SSL_WANT_READ && !is_over(conn) &&
	       conn->ssl.keep_current_message;
}

ssize_t tls_read(struct tls_conn *conn, void *buf, size_t size)
{
	int n = unpark(conn);

	if (n < 0)
		return n;
	/* A server could send tickets for ever; not within one call. */
	for (int i = 0; i < 8; i++) {
		n = mbedtls_ssl_read(&conn->ssl, buf, size);
		if (!again(conn, n))
			break;
	}
	if (n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
		return 0;
	if (n == 0)
		return library_error(conn, MBEDTLS_ERR_SSL_CONN_EOF);
	return n > 0 ? n : library_error(conn, n);
}

/* The library repeats what is in its buffer, whatever it is called with. */
int tls_flush(struct tls_conn *conn)
{
	int n;

	if (conn->parked || conn->ssl.out_left == 0)
		return 0;
	n = mbedtls_ssl_write(&conn->ssl, (const void *)"", 1);
	return n > 0 ? 0 : library_error(conn, n);
}

ssize_t tls_write(struct tls_conn *conn, const void *buf, size_t size)
{
	int n = tls_flush(conn);

	if (n == 0)
		n = unpark(conn);
	if (n < 0)
		return n;
	n = mbedtls_ssl_get_max_out_record_payload(&conn->ssl);
	if (n > 0 && size > (size_t)n)
		size = (size_t)n;
	n = mbedtls_ssl_write(&conn->ssl, buf, size);
	if (n == MBEDTLS_ERR_SSL_WANT_WRITE) {
		conn->events = EPOLLOUT;
		return (ssize_t)size;
	}
	return n > 0 ? n : library_error(conn, n);
}

uint32_t tls_events(const struct tls_conn *conn)
{
	return conn->events;
}

bool tls_pending(const struct tls_conn *conn)
{
	return !conn->parked && (conn->ssl.in_offt || conn->ssl.in_left);
}

void tls_shut(struct tls_conn *conn)
{
	if (conn->done && unpark(conn) == 0)
		(void)mbedtls_ssl_close_notify(&conn->ssl);
}

const struct tls_peer *tls_peer(const struct tls_conn *conn)
{
	return &conn->peer;
}

const char *tls_alpn(const struct tls_conn *conn)
{
	const char *alpn = mbedtls_ssl_get_alpn_protocol(&conn->ssl);

	return alpn ? alpn : "";
}
