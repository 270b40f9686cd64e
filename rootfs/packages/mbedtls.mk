# Mbed TLS: hashes (and, once something speaks to the network, TLS).
mbedtls_SOURCE := mbedtls
mbedtls_VERSIONS := \
	3.6.6-0.1~deb13u1:8fb65fae8dcae5840f793c0a334860a411f884cc537ea290ce1c52bb64ca007a
mbedtls_LICENCE := Apache-2.0 OR GPL-2.0-or-later
mbedtls_FLAVOURS := x86_64 aarch64 host
mbedtls_DEPENDS = $(musl_of)
define mbedtls_BUILD
cp -R "$SRC/." .
make -C library CC=$CC AR=${CROSS}ar CFLAGS="$CFLAGS -fPIE" libmbedcrypto.a
mkdir "$OUT/lib"
cp library/libmbedcrypto.a "$OUT/lib"
cp -R include "$OUT"
endef
