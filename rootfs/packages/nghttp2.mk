# nghttp2: the frames, streams and header compression of HTTP/2; the library
# alone, without its build system, which would have to be generated first.
nghttp2_SOURCE := nghttp2
nghttp2_VERSIONS := \
	1.64.0-1.1+deb13u1:b452dc69a1fcbc9375389b8b154175d8b7b125cdd713fc426774c2b79a1ebd77
nghttp2_LICENCE := MIT
nghttp2_FLAVOURS := x86_64 aarch64 host
nghttp2_DEPENDS = $(musl_of)
define nghttp2_BUILD
mkdir -p "$OUT/lib" "$OUT/include"
cp -R "$SRC/lib/includes/nghttp2" "$OUT/include"
number=$(printf 0x%02x%02x%02x $(echo "${VERSION%%-*}" | tr . ' '))
sed "s/@PACKAGE_VERSION@/${VERSION%%-*}/; s/@PACKAGE_VERSION_NUM@/$number/" \
	"$SRC/lib/includes/nghttp2/nghttp2ver.h.in" \
	>"$OUT/include/nghttp2/nghttp2ver.h"
rm "$OUT/include/nghttp2/nghttp2ver.h.in"
cp -R "$SRC/lib" .
# Every connection keeps one buffer for frames that it sends: 4 KB, not 16.
sed -i 's/define NGHTTP2_MAX_PAYLOADLEN 16384/define NGHTTP2_MAX_PAYLOADLEN 4096/
	s/define NGHTTP2_DATA_PAYLOADLEN .*/define NGHTTP2_DATA_PAYLOADLEN 4096/' \
	lib/nghttp2_frame.h
[ $(grep -c ' 4096$' lib/nghttp2_frame.h) = 2 ]
$CC $CFLAGS -fPIE -DNGHTTP2_STATICLIB -DHAVE_ARPA_INET_H -DHAVE_NETINET_IN_H \
	-DHAVE_CLOCK_GETTIME -DHAVE_DECL_CLOCK_MONOTONIC=1 -DHAVE_TIME_H -DNDEBUG \
	-I"$OUT/include" -c lib/*.c
${CROSS}ar rcs "$OUT/lib/libnghttp2.a" *.o
endef
