# util-linux: only libuuid and libblkid, which btrfs-progs needs.
util-linux_SOURCE := util-linux
util-linux_VERSIONS := \
	2.41.5-0+deb13u1:f586e35d320ff537aab3ffeca37e9ecd482ccbe013590db4429a414d8aa6a728 \
	2.38.1-5+deb12u3:60492a19b44e6cf9a3ddff68325b333b8b52b6c59ce3ebd6a0ecaa4c5117e84f
util-linux_LICENCE := BSD-3-Clause (libuuid), LGPL-2.1-or-later (libblkid)
util-linux_FLAVOURS := x86_64 aarch64
util-linux_DEPENDS = $(musl_of)
define util-linux_BUILD
"$SRC/configure" --host=$HOST --prefix=/ --disable-shared --enable-static \
	--disable-all-programs --enable-libuuid --enable-libblkid \
	--disable-nls --disable-dependency-tracking --without-ncurses \
	--without-ncursesw --without-tinfo --without-readline --without-udev \
	--without-systemd --without-python --disable-bash-completion \
	CC=$CC CFLAGS="$CFLAGS -fPIE"
make
make install DESTDIR="$OUT"
rm -rf "$OUT"/lib/*.la "$OUT/share"
endef
