# Mbed TLS: hashes, keys, certificates and TLS. Static key exchanges, old
# ciphers and what only other systems need are left out; TLS 1.2 with RSA stays
# for registries of others.
mbedtls_SOURCE := mbedtls
mbedtls_VERSIONS := \
	3.6.6-0.1~deb13u1:8fb65fae8dcae5840f793c0a334860a411f884cc537ea290ce1c52bb64ca007a
mbedtls_LICENCE := Apache-2.0 OR GPL-2.0-or-later
mbedtls_FLAVOURS := x86_64 aarch64 host
mbedtls_DEPENDS = $(musl_of)
define mbedtls_BUILD
cp -R "$SRC/." .
config="python3 scripts/config.py -f include/mbedtls/mbedtls_config.h"
for name in ARIA_C CAMELLIA_C CIPHER_MODE_CFB CIPHER_MODE_OFB CIPHER_MODE_XTS \
	DEBUG_C DES_C DHM_C ECJPAKE_C LMS_C NIST_KW_C PADLOCK_C PKCS7_C \
	RIPEMD160_C SELF_TEST SHA3_C VERSION_FEATURES NET_C TIMING_C \
	PSA_CRYPTO_STORAGE_C PSA_ITS_FILE_C SSL_CACHE_C SSL_COOKIE_C \
	SSL_TICKET_C SSL_RENEGOTIATION SSL_PROTO_DTLS SSL_DTLS_CONNECTION_ID \
	SSL_DTLS_CONNECTION_ID_COMPAT SSL_DTLS_ANTI_REPLAY \
	SSL_DTLS_HELLO_VERIFY SSL_DTLS_CLIENT_PORT_REUSE \
	SSL_CONTEXT_SERIALIZATION \
	KEY_EXCHANGE_PSK_ENABLED KEY_EXCHANGE_DHE_PSK_ENABLED \
	KEY_EXCHANGE_ECDHE_PSK_ENABLED KEY_EXCHANGE_RSA_PSK_ENABLED \
	KEY_EXCHANGE_RSA_ENABLED KEY_EXCHANGE_DHE_RSA_ENABLED \
	KEY_EXCHANGE_ECDH_ECDSA_ENABLED KEY_EXCHANGE_ECDH_RSA_ENABLED \
	ECP_DP_SECP192R1_ENABLED ECP_DP_SECP224R1_ENABLED \
	ECP_DP_SECP192K1_ENABLED ECP_DP_SECP224K1_ENABLED \
	ECP_DP_SECP256K1_ENABLED ECP_DP_BP256R1_ENABLED \
	ECP_DP_BP384R1_ENABLED ECP_DP_BP512R1_ENABLED ECP_DP_CURVE448_ENABLED
do
	$config unset MBEDTLS_$name
done
# Allocation can be replaced (sync/wire/pool.c).
$config set MBEDTLS_PLATFORM_MEMORY
# Tables shared by all processes instead of made by each.
$config set MBEDTLS_AES_ROM_TABLES
$config set MBEDTLS_SSL_OUT_CONTENT_LEN 8192
$config set MBEDTLS_SSL_CID_TLS1_3_PADDING_GRANULARITY 1
$config set MBEDTLS_X509_MAX_INTERMEDIATE_CA 4
# How old a ticket is by the clocks of both sides matters to early data alone,
# which is off; a thousand clients that come at once wait for seconds.
$config set MBEDTLS_SSL_TLS1_3_TICKET_AGE_TOLERANCE 86400000
[ $ARCH != aarch64 ] || $config set MBEDTLS_SHA256_USE_ARMV8_A_CRYPTO_IF_PRESENT
# musl has getrandom(2) as well: a confined program cannot open /dev/urandom.
sed -i 's/(defined(__linux__) && defined(__GLIBC__))/defined(__linux__)/' \
	library/entropy_poll.c
# A client's chain has three certificates at most; each one more that fits the
# message could be a candidate issuer, to be tried by a signature check.
sed -i 's/(certificate_list_len >= 0x10000))/(certificate_list_len >= \
(ssl->conf->endpoint == MBEDTLS_SSL_IS_SERVER ? 3072u : 0x10000u)))/' \
	library/ssl_tls13_generic.c
grep -q 3072u library/ssl_tls13_generic.c
make -C library CC=$CC AR=${CROSS}ar CFLAGS="$CFLAGS -fPIE" -j$JOBS static
mkdir "$OUT/lib"
cp library/libmbedcrypto.a library/libmbedx509.a library/libmbedtls.a "$OUT/lib"
cp -R include "$OUT"
endef
