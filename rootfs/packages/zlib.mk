# zlib: gzip layers.
zlib_SOURCE := zlib
zlib_VERSIONS := \
	1:1.3.dfsg+really1.3.1-1:60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb \
	1:1.3.dfsg+really1.3.1-1+deb13u1:60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb \
	1:1.2.13.dfsg-1:71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1
zlib_LICENCE := Zlib
zlib_FLAVOURS := x86_64 aarch64 host
zlib_DEPENDS = $(musl_of)
define zlib_BUILD
cp -R "$SRC/." .
CC=$CC AR=${CROSS}ar RANLIB=${CROSS}ranlib CFLAGS="$CFLAGS -fPIE" \
	sh ./configure --static --prefix=/
make libz.a
make install DESTDIR="$OUT"
rm -rf "$OUT/share"
endef
