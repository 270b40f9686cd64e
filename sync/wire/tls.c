/* What connections share: one library configuration for each certificate.
 *
 * The library's own verification mode is "optional" on both sides, because it
 * cannot be told of a pin nor of a clock that does not count; what it finds
 * goes through chain_step() and tls_conn.c ends the handshake on it. */
#include "tls.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "base/log.h"
#include "key.h"
#include "tls_conn.h"

/* One curve for signatures, two for the exchange: P-256 is the faster of them
 * here, X25519 is what others offer first. */
static const uint16_t groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
				   MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
				   MBEDTLS_SSL_IANA_TLS_GROUP_NONE };
static const uint16_t signatures[] = {
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_NONE
};
static const int aes_first[] = { MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
				 MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
				 MBEDTLS_TLS1_3_AES_256_GCM_SHA384, 0 };
static const int chacha_first[] = { MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
				    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
				    MBEDTLS_TLS1_3_AES_256_GCM_SHA384, 0 };

/* Boards without AES instructions (HWCAP_AES of arm64) do better without. */
static bool slow_aes(void)
{
#ifdef __aarch64__
	return !(getauxval(AT_HWCAP) & 1 << 3);
#else
	return false;
#endif
}

struct tls *tls_ref(struct tls *tls)
{
	tls->refs++;
	return tls;
}

void tls_own_free(struct tls_own *own)
{
	if (!own || --own->refs > 0)
		return;
	mbedtls_ssl_config_free(&own->config);
	chain_free(own->chain);
	cert_key_free(own->key);
	free(own);
}

void tls_free(struct tls *tls)
{
	if (!tls || --tls->refs > 0)
		return;
	tls_own_free(tls->own);
	chain_free(tls->client_ca);
	explicit_bzero(tls, sizeof(*tls));
	free(tls);
}

static int configure(struct tls *tls, mbedtls_ssl_config *config)
{
	if (mbedtls_ssl_config_defaults(config,
					tls->server ? MBEDTLS_SSL_IS_SERVER
						    : MBEDTLS_SSL_IS_CLIENT,
					MBEDTLS_SSL_TRANSPORT_STREAM,
					MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return -ENOMEM;
	mbedtls_ssl_conf_rng(config, wire_rng, NULL);
	mbedtls_ssl_conf_min_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_groups(config, groups);
	mbedtls_ssl_conf_sig_algs(config, signatures);
	mbedtls_ssl_conf_ciphersuites(config,
				      slow_aes() ? chacha_first : aes_first);
	mbedtls_ssl_conf_cert_profile(config, &chain_profile);
	mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_OPTIONAL);
	/* A stolen ticket key must not open what was recorded: always with a
	 * new exchange. */
	mbedtls_ssl_conf_tls13_key_exchange_modes(
		config,
		MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL |
			MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
	if (tls->alpn[0] &&
	    mbedtls_ssl_conf_alpn_protocols(config, tls->alpn) != 0)
		return -EINVAL;
	if (tls->server) {
		mbedtls_ssl_conf_session_tickets_cb(config, tls_ticket_write,
						    tls_ticket_parse, NULL);
		if (tls->client_ca)
			mbedtls_ssl_conf_ca_chain(
				config, chain_crt(tls->client_ca), NULL);
	} else {
		mbedtls_ssl_conf_session_tickets(
			config, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
		mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
			config,
			MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
	}
	return 0;
}

static int own_certificate(struct tls_own *own, struct span chain,
			   const struct cert_key *key)
{
	struct chain_facts facts;
	struct cert_public public;
	uint8_t pin[CHAIN_PIN_SIZE];
	int err = chain_read(chain, &own->chain);

	if (err)
		return err;
	own->key = key_copy(key);
	if (!own->key)
		return -ENOMEM;
	cert_key_public(key, &public);
	cert_pin(&public, pin);
	err = chain_facts(own->chain, 0, &facts);
	if (!err && memcmp(facts.pin, pin, sizeof(pin)) != 0)
		err = -EINVAL;
	if (!err &&
	    mbedtls_ssl_conf_own_cert(&own->config, chain_crt(own->chain),
				      &own->key->pk) != 0)
		err = -ENOMEM;
	return err;
}

static int own_new(struct tls *tls, struct span chain,
		   const struct cert_key *key, struct tls_own **out)
{
	struct tls_own *own = calloc(1, sizeof(*own));
	int err;

	*out = NULL;
	if (!own)
		return -ENOMEM;
	own->refs = 1;
	mbedtls_ssl_config_init(&own->config);
	err = configure(tls, &own->config);
	if (!err && chain.size)
		err = key ? own_certificate(own, chain, key) : -EINVAL;
	if (err)
		tls_own_free(own);
	else
		*out = own;
	return err;
}

static void set_alpn(struct tls *tls, const char *alpn)
{
	size_t n = 0;
	char *p = tls->alpn_text;

	text_copy(p, sizeof(tls->alpn_text), alpn ? alpn : "");
	for (char *word; (word = strtok_r(p, " ", &p)) && n < TLS_ALPN_MAX;)
		tls->alpn[n++] = word;
}

static struct tls *tls_new(const uint8_t pin[CHAIN_PIN_SIZE], const char *alpn)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->refs = 1;
	memcpy(tls->pin, pin, sizeof(tls->pin));
	set_alpn(tls, alpn);
	return tls;
}

int tls_server_new(const struct tls_server_config *config, struct tls **out)
{
	struct tls *tls = tls_new(config->pin, config->alpn);
	int err = 0;

	*out = NULL;
	if (!tls)
		return -ENOMEM;
	tls->server = true;
	tls->allow_expired = config->allow_expired;
	if (config->client_ca.size)
		err = chain_read(config->client_ca, &tls->client_ca);
	if (!err)
		err = own_new(tls, config->chain, config->key, &tls->own);
	if (err) {
		log_error("tls", "certificate and key do not fit");
		tls_free(tls);
		return err;
	}
	tls->n_ticket_keys = 1;
	wire_random(tls->ticket_keys, sizeof(tls->ticket_keys[0]));
	*out = tls;
	return 0;
}

int tls_server_certificate(struct tls *tls, struct span chain,
			   const struct cert_key *key)
{
	struct tls_own *own;
	int err = own_new(tls, chain, key, &own);

	if (err)
		return err;
	tls_own_free(tls->own);
	tls->own = own;
	return 0;
}

int tls_server_ticket_keys(struct tls *tls,
			   const uint8_t (*keys)[TLS_TICKET_KEY_SIZE], size_t n)
{
	_Static_assert(sizeof(struct tls_ticket_key) == TLS_TICKET_KEY_SIZE,
		       "the bytes of a key are its name and itself");
	if (n < 1 || n > TLS_TICKET_KEYS_MAX)
		return -EINVAL;
	memcpy(tls->ticket_keys, keys, n * TLS_TICKET_KEY_SIZE);
	tls->n_ticket_keys = n;
	return 0;
}

int tls_client_new(const struct tls_client_config *config, struct tls **out)
{
	struct tls *tls = tls_new(config->pin, config->alpn);
	int err;

	*out = NULL;
	if (!tls)
		return -ENOMEM;
	tls->allow_expired = config->allow_expired;
	err = own_new(tls, config->chain, config->key, &tls->own);
	if (err) {
		log_error("tls", "certificate and key do not fit");
		tls_free(tls);
		return err;
	}
	*out = tls;
	return 0;
}
