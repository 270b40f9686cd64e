# erofs-utils: mkfs.erofs, which makes the root image, at build time.
erofs-utils_SOURCE := erofs-utils
erofs-utils_VERSIONS := \
	1.8.6-1:5b221dc3fd6d151425b30534ede46fb7a90dc233a8659cba0372796b0a066547
erofs-utils_LICENCE := GPL-2.0-or-later AND (GPL-2.0-or-later OR Apache-2.0)
erofs-utils_FLAVOURS := host
erofs-utils_DEPENDS := lz4/host zstd/host
define erofs-utils_BUILD
cp -R "$SRC/." .
[ -x configure ] || ./autogen.sh
./configure --prefix=/ --disable-fuse --disable-lzma --without-zlib \
	--without-libdeflate --without-uuid --without-selinux --without-xxhash \
	--with-libzstd --disable-multithreading \
	CC=$CC CFLAGS="$CFLAGS" liblz4_CFLAGS="-I$DEP_LZ4/include" \
	liblz4_LIBS="-L$DEP_LZ4/lib -llz4" \
	libzstd_CFLAGS="-I$DEP_ZSTD/include" \
	libzstd_LIBS="-L$DEP_ZSTD/lib -lzstd"
make
mkdir "$OUT/bin"
cp mkfs/mkfs.erofs dump/dump.erofs "$OUT/bin"
endef
