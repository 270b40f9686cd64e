# libarchive: reads the tar of an image layer, plain or compressed by gzip or
# zstd. All else it can do is left out.
libarchive_SOURCE := libarchive
libarchive_VERSIONS := \
	3.7.4-4+deb13u1:f887755c434a736a609cbd28d87ddbfbe9d6a3bb5b703c22c02f6af80a802735 \
	3.6.2-1+deb12u5:9e2c1b80d5fbe59b61308fdfab6c79b5021d7ff4ff2489fb12daf0a96a83551d
libarchive_LICENCE := BSD-2-Clause
libarchive_FLAVOURS := x86_64 aarch64 host
libarchive_DEPENDS = $(musl_of) zlib/$(FLAVOUR) zstd/$(FLAVOUR)
define libarchive_BUILD
host=; [ $FLAVOUR = host ] || host=--host=$HOST
"$SRC/configure" $host --prefix=/ --disable-shared --enable-static \
	--disable-bsdtar --disable-bsdcat --disable-bsdcpio --disable-bsdunzip \
	--disable-acl --disable-xattr --without-bz2lib --without-libb2 \
	--without-iconv --without-lz4 --without-lzma --without-lzo2 \
	--without-cng --without-mbedtls --without-nettle --without-openssl \
	--without-xml2 --without-expat --disable-dependency-tracking \
	CC=$CC CFLAGS="$CFLAGS -fPIE" \
	CPPFLAGS="-I$DEP_ZLIB/include -I$DEP_ZSTD/include" \
	LDFLAGS="-L$DEP_ZLIB/lib -L$DEP_ZSTD/lib"
# Without them it would start gzip and zstd as programs.
grep -q '^#define HAVE_ZLIB_H 1' config.h
grep -q '^#define HAVE_ZSTD_H 1' config.h
make libarchive.la
make install-libLTLIBRARIES install-includeHEADERS DESTDIR="$OUT"
rm -f "$OUT"/lib/*.la
endef
