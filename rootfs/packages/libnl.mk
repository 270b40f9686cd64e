# libnl: netlink messages as criu makes them.
libnl_SOURCE := libnl3
libnl_VERSIONS := \
	3.7.0-2:9fe43ccbeeea72c653bdcf8c93332583135cda46a79507bfd0a483bb57f65939
libnl_LICENCE := LGPL-2.1-only
libnl_FLAVOURS := x86_64 aarch64
libnl_DEPENDS = $(musl_of)
define libnl_BUILD
"$SRC/configure" --host=$HOST --prefix=/ --disable-shared --enable-static \
	--disable-cli --disable-pthreads --disable-debug \
	--disable-dependency-tracking CC=$CC CFLAGS="$CFLAGS"
make lib/libnl-3.la
# Where the distribution has them, and as its own headers name one another.
mkdir -p "$OUT/lib" "$OUT/include/libnl3"
cp lib/.libs/libnl-3.a "$OUT/lib"
cp -R "$SRC/include/netlink" include/netlink "$OUT/include/libnl3"
endef
