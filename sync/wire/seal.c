/* A sealed text is base64 of
 *
 *	the ephemeral public key, 65 bytes uncompressed
 *	the ciphertext, as long as the secret
 *	the tag of AES-GCM, 16 bytes
 *
 * Key and nonce are HKDF-SHA256 of the shared point's x, without salt, info
 * being a constant and both public keys. Each key is used once, for one
 * secret, since the ephemeral key depends on all of it. */
#include "seal.h"

#include <errno.h>
#include <stdlib.h>

#include <mbedtls/base64.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/gcm.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>

#include "base/base64.h"
#include "base/fd.h"
#include "key.h"

enum { POINT_SIZE = 65, SCALAR_SIZE = 32, TAG_SIZE = 16, NONCE_SIZE = 12 };

static const char label[] = "zooid seal 1";

struct sealing {
	mbedtls_ecp_group group;
	mbedtls_mpi own; /* private */
	mbedtls_ecp_point other;
	uint8_t key[SCALAR_SIZE + NONCE_SIZE];
};

static int sealing_init(struct sealing *s)
{
	mbedtls_ecp_group_init(&s->group);
	mbedtls_mpi_init(&s->own);
	mbedtls_ecp_point_init(&s->other);
	return mbedtls_ecp_group_load(&s->group, MBEDTLS_ECP_DP_SECP256R1) == 0
		       ? 0
		       : -ENOMEM;
}

static void sealing_end(struct sealing *s)
{
	mbedtls_ecp_group_free(&s->group);
	mbedtls_mpi_free(&s->own);
	mbedtls_ecp_point_free(&s->other);
	mbedtls_platform_zeroize(s->key, sizeof(s->key));
}

/* Not every point is one of the curve; one that is not could tell of the
 * private key. */
static int other_read(struct sealing *s, const uint8_t point[POINT_SIZE])
{
	if (mbedtls_ecp_point_read_binary(&s->group, &s->other, point,
					  POINT_SIZE) != 0 ||
	    mbedtls_ecp_check_pubkey(&s->group, &s->other) != 0)
		return -EINVAL;
	return 0;
}

static int key_derive(struct sealing *s, const uint8_t ephemeral[POINT_SIZE],
		      const uint8_t to[POINT_SIZE])
{
	const mbedtls_md_info_t *md =
		mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
	uint8_t shared[SCALAR_SIZE],
		info[sizeof(label) + (size_t)2 * POINT_SIZE];
	mbedtls_mpi z;
	int r;

	memcpy(info, label, sizeof(label));
	memcpy(info + sizeof(label), ephemeral, POINT_SIZE);
	memcpy(info + sizeof(label) + POINT_SIZE, to, POINT_SIZE);
	mbedtls_mpi_init(&z);
	r = mbedtls_ecdh_compute_shared(&s->group, &z, &s->other, &s->own,
					wire_rng, NULL);
	if (r == 0)
		r = mbedtls_mpi_write_binary(&z, shared, sizeof(shared));
	if (r == 0)
		r = mbedtls_hkdf(md, NULL, 0, shared, sizeof(shared), info,
				 sizeof(info), s->key, sizeof(s->key));
	mbedtls_mpi_free(&z);
	mbedtls_platform_zeroize(shared, sizeof(shared));
	return r == 0 ? 0 : -ENOMEM;
}

/* The last bytes of a SubjectPublicKeyInfo. */
static const uint8_t *point_of(const struct cert_public *public)
{
	return public->der + CERT_PUBLIC_SIZE - POINT_SIZE;
}

/* ---- sealing ---- */

/* As RFC 6979 chooses its numbers: a MAC by the sealer's private key. */
static int ephemeral_make(struct sealing *s, const struct cert_public *to,
			  const struct cert_key *by, struct span secret)
{
	const mbedtls_md_info_t *md =
		mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
	uint8_t own[SCALAR_SIZE], mac[SCALAR_SIZE], round = 0;
	mbedtls_md_context_t hmac;
	size_t n;
	int r;

	mbedtls_md_init(&hmac);
	r = mbedtls_ecp_write_key_ext(mbedtls_pk_ec(*key_pk(by)), &n, own,
				      sizeof(own));
	if (r == 0)
		r = mbedtls_md_setup(&hmac, md, 1);
	do {
		if (r == 0)
			r = mbedtls_md_hmac_starts(&hmac, own, sizeof(own));
		mbedtls_md_hmac_update(&hmac, (const void *)label,
				       sizeof(label));
		mbedtls_md_hmac_update(&hmac, &round, 1);
		mbedtls_md_hmac_update(&hmac, to->der, sizeof(to->der));
		mbedtls_md_hmac_update(&hmac, (const void *)secret.data,
				       secret.size);
		if (r == 0)
			r = mbedtls_md_hmac_finish(&hmac, mac);
		if (r == 0)
			r = mbedtls_mpi_read_binary(&s->own, mac, sizeof(mac));
		round++;
	} while (r == 0 && mbedtls_ecp_check_privkey(&s->group, &s->own) != 0);
	mbedtls_md_free(&hmac);
	mbedtls_platform_zeroize(own, sizeof(own));
	mbedtls_platform_zeroize(mac, sizeof(mac));
	return r == 0 ? 0 : -ENOMEM;
}

static int ephemeral_write(struct sealing *s, uint8_t point[POINT_SIZE])
{
	mbedtls_ecp_point public;
	size_t n;
	int r;

	mbedtls_ecp_point_init(&public);
	r = mbedtls_ecp_mul(&s->group, &public, &s->own, &s->group.G, wire_rng,
			    NULL);
	if (r == 0)
		r = mbedtls_ecp_point_write_binary(&s->group, &public,
						   MBEDTLS_ECP_PF_UNCOMPRESSED,
						   &n, point, POINT_SIZE);
	mbedtls_ecp_point_free(&public);
	return r == 0 ? 0 : -ENOMEM;
}

static int gcm_begin(mbedtls_gcm_context *gcm, const struct sealing *s)
{
	mbedtls_gcm_init(gcm);
	return mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, s->key,
				  SCALAR_SIZE * 8);
}

static int encrypt(const struct sealing *s, struct span secret, uint8_t *out)
{
	mbedtls_gcm_context gcm;
	int r = gcm_begin(&gcm, s);

	if (r == 0)
		r = mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT,
					      secret.size, s->key + SCALAR_SIZE,
					      NONCE_SIZE, NULL, 0,
					      (const void *)secret.data, out,
					      TAG_SIZE, out + secret.size);
	mbedtls_gcm_free(&gcm);
	return r == 0 ? 0 : -ENOMEM;
}

static int seal_into(struct sealing *s, const struct cert_public *to,
		     const struct cert_key *by, struct span secret,
		     uint8_t *out)
{
	int r = other_read(s, point_of(to));

	if (r == 0)
		r = ephemeral_make(s, to, by, secret);
	if (r == 0)
		r = ephemeral_write(s, out);
	if (r == 0)
		r = key_derive(s, out, point_of(to));
	return r < 0 ? r : encrypt(s, secret, out + POINT_SIZE);
}

int seal(const struct cert_public *to, const struct cert_key *by,
	 struct span secret, char **text)
{
	size_t size = POINT_SIZE + secret.size + TAG_SIZE;
	size_t room = (size + 2) / 3 * 4 + 1, n;
	struct sealing s;
	uint8_t *raw;
	int r;

	*text = NULL;
	if (secret.size > SEAL_PLAIN_MAX)
		return -EINVAL;
	raw = malloc(size);
	*text = malloc(room);
	r = sealing_init(&s);
	if (!raw || !*text)
		r = -ENOMEM;
	if (r == 0)
		r = seal_into(&s, to, by, secret, raw);
	if (r == 0 &&
	    mbedtls_base64_encode((void *)*text, room, &n, raw, size) != 0)
		r = -ENOMEM;
	sealing_end(&s);
	free(raw);
	if (r < 0) {
		free(*text);
		*text = NULL;
	}
	return r;
}

/* ---- unsealing ---- */

static int decrypt(const struct sealing *s, const uint8_t *raw, size_t size,
		   char *secret)
{
	mbedtls_gcm_context gcm;
	int r = gcm_begin(&gcm, s);

	if (r == 0)
		r = mbedtls_gcm_auth_decrypt(&gcm, size, s->key + SCALAR_SIZE,
					     NONCE_SIZE, NULL, 0, raw + size,
					     TAG_SIZE, raw, (void *)secret);
	mbedtls_gcm_free(&gcm);
	return r == 0				  ? 0
	       : r == MBEDTLS_ERR_GCM_AUTH_FAILED ? -EKEYREJECTED
						  : -ENOMEM;
}

static int own_read(struct sealing *s, const struct cert_key *key,
		    uint8_t point[POINT_SIZE])
{
	struct cert_public public;
	uint8_t own[SCALAR_SIZE];
	size_t n;
	int r = mbedtls_ecp_write_key_ext(mbedtls_pk_ec(*key_pk(key)), &n, own,
					  sizeof(own));

	if (r == 0)
		r = mbedtls_mpi_read_binary(&s->own, own, sizeof(own));
	mbedtls_platform_zeroize(own, sizeof(own));
	cert_key_public(key, &public);
	memcpy(point, point_of(&public), POINT_SIZE);
	return r == 0 ? 0 : -ENOMEM;
}

static int unseal_raw(const struct cert_key *key, const uint8_t *raw,
		      size_t size, char *secret)
{
	uint8_t point[POINT_SIZE];
	struct sealing s;
	int r = sealing_init(&s);

	if (r == 0)
		r = other_read(&s, raw);
	if (r == 0)
		r = own_read(&s, key, point);
	if (r == 0)
		r = key_derive(&s, raw, point);
	if (r == 0)
		r = decrypt(&s, raw + POINT_SIZE, size, secret);
	sealing_end(&s);
	return r;
}

int unseal(const struct cert_key *key, struct span text, char **secret,
	   size_t *size)
{
	autofree uint8_t *raw = malloc(text.size + 1);
	ssize_t n = raw ? base64_decode(text, raw, text.size) : -ENOMEM;
	int r;

	*secret = NULL;
	if (n == -ENOMEM)
		return -ENOMEM;
	if (n < POINT_SIZE + TAG_SIZE ||
	    n > POINT_SIZE + TAG_SIZE + SEAL_PLAIN_MAX)
		return -EINVAL;
	*size = (size_t)n - POINT_SIZE - TAG_SIZE;
	*secret = calloc(1, *size + 1);
	if (!*secret)
		return -ENOMEM;
	r = unseal_raw(key, raw, *size, *secret);
	if (r < 0) {
		free(*secret);
		*secret = NULL;
	}
	return r;
}
