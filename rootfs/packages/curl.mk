# libcurl: HTTP/1.1 and HTTPS for the registry client, and nothing else
# includes it. Names are resolved before it is asked (base/resolve.h), since its
# own resolver would block; certificates are handed over in memory.
curl_SOURCE := curl
curl_VERSIONS := \
	8.14.1-2+deb13u7:6766ada7101d292b42b8b15681120acd68effa4a9660935853cf6d61f0d984d4 \
	8.14.1-2+deb13u5:6766ada7101d292b42b8b15681120acd68effa4a9660935853cf6d61f0d984d4
curl_LICENCE := curl
curl_FLAVOURS := x86_64 aarch64 host
curl_DEPENDS = $(musl_of) mbedtls/$(FLAVOUR)
define curl_BUILD
host=; [ $FLAVOUR = host ] || host=--host=$HOST
"$SRC/configure" $host --prefix=/ --disable-shared --enable-static \
	--with-mbedtls="$DEP_MBEDTLS" --without-ca-bundle --without-ca-path \
	--without-zlib --without-brotli --without-zstd --without-libpsl \
	--without-libidn2 --without-nghttp2 --without-librtmp --without-libssh2 \
	--disable-threaded-resolver --disable-ares --disable-socketpair \
	--disable-ftp --disable-file --disable-ldap --disable-ldaps \
	--disable-rtsp --disable-dict --disable-telnet --disable-tftp \
	--disable-pop3 --disable-imap --disable-smb --disable-smtp \
	--disable-gopher --disable-mqtt --disable-ipfs --disable-websockets \
	--disable-manual --disable-docs --disable-libcurl-option --disable-ntlm \
	--disable-negotiate-auth --disable-kerberos-auth --disable-aws \
	--disable-digest-auth --disable-bearer-auth \
	--disable-tls-srp --disable-unix-sockets --disable-cookies \
	--disable-alt-svc --disable-hsts --disable-doh --disable-mime \
	--disable-form-api --disable-netrc --disable-progress-meter \
	--disable-dateparse --disable-headers-api \
	--disable-get-easy-options --disable-sspi --disable-verbose \
	--disable-dependency-tracking --disable-symbol-hiding --disable-rt \
	CC=$CC CFLAGS="$CFLAGS -fPIE"
make -C lib libcurl.la
mkdir -p "$OUT/lib" "$OUT/include"
cp lib/.libs/libcurl.a "$OUT/lib"
cp -R "$SRC/include/curl" "$OUT/include"
rm -f "$OUT"/include/curl/Makefile*
endef
