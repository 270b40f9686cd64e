# musl: the C library of everything that runs on a node, static only, and a
# compiler that uses it in place of the distribution's.
musl_SOURCE := musl
musl_VERSIONS := \
	1.2.5-3.1~deb13u1:a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4 \
	1.2.5-3:a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4
musl_LICENCE := MIT
musl_FLAVOURS := x86_64 aarch64
musl_DEPENDS = linux-headers/$(FLAVOUR)
musl_INPUTS := rootfs/packages/musl-wrapper
define musl_BUILD
"$SRC/configure" --prefix=/ --target=$HOST --disable-shared \
	CC=$CC CROSS_COMPILE=$CROSS CFLAGS="$CFLAGS"
make
make install DESTDIR="$OUT"
cp -R "$DEP_LINUX_HEADERS/include/." "$OUT/include"
"$TOP/rootfs/packages/musl-wrapper" "$OUT" $HOST $CROSS
endef
