# libnet: packets by which criu's library for TCP repair restores a queue.
libnet_SOURCE := libnet
libnet_VERSIONS := \
	1.3+dfsg-2:ef85c60d7b09f5b3ffd7ea4ba8bef162577a38d7305545819d3c9a4fea8cb02e
libnet_LICENCE := BSD-2-Clause
libnet_FLAVOURS := x86_64 aarch64
libnet_DEPENDS = $(musl_of)
define libnet_BUILD
cp -R "$SRC/." .
[ -x configure ] || autoreconf -fi
ac_cv_libnet_endianess=lil libnet_cv_have_packet_socket=yes \
./configure --host=$HOST --prefix=/ --disable-shared --enable-static \
	--disable-doxygen-doc --disable-dependency-tracking \
	CC=$CC CFLAGS="$CFLAGS"
make -C src
make -C src install DESTDIR="$OUT"
make -C include install DESTDIR="$OUT"
rm -f "$OUT"/lib/*.la
endef
