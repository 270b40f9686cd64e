# btrfs-progs: one static program that is mkfs.btrfs, btrfs, and so on by the
# name that it is called by: makes, grows and repairs /data.
btrfs-progs_SOURCE := btrfs-progs
btrfs-progs_VERSIONS := \
	6.14-1:5a85b791f0f32a4994e864ac4cb7abccce08e56db3010a1855ad0edeebc70b4c \
	6.2-1+deb12u2:5fa59b9304bec59a8f0cb505f60c95d8c46b2948389033ad9d3cd72928bfd144
btrfs-progs_LICENCE := GPL-2.0-only
btrfs-progs_FLAVOURS := x86_64 aarch64
btrfs-progs_DEPENDS = $(musl_of) util-linux/$(FLAVOUR) zlib/$(FLAVOUR)
define btrfs-progs_BUILD
cp -R "$SRC/." .
mkdir pc
for dep in "$DEP_UTIL_LINUX" "$DEP_ZLIB"; do
	for pc in "$dep"/lib/pkgconfig/*.pc; do
		sed "/^[a-z_]*=/s|=//*|=$dep/|" "$pc" >"pc/${pc##*/}"
	done
done
export PKG_CONFIG_LIBDIR=$PWD/pc
[ -x configure ] || ./autogen.sh
# What configure cannot find out when it compiles for another machine.
ac_cv_func_malloc_0_nonnull=yes ac_cv_func_realloc_0_nonnull=yes \
./configure --host=$HOST --prefix=/ \
	--disable-documentation --disable-convert --disable-python \
	--disable-zoned --disable-lzo --disable-zstd --disable-libudev \
	--disable-shared --disable-backtrace --with-crypto=builtin \
	CC=$CC CFLAGS="$CFLAGS -Os -I$DEP_UTIL_LINUX/include -I$DEP_ZLIB/include"
make btrfs.box.static LDFLAGS="-static -Wl,--gc-sections -L$DEP_UTIL_LINUX/lib -L$DEP_ZLIB/lib"
mkdir "$OUT/bin"
cp btrfs.box.static "$OUT/bin/btrfs.box"
${CROSS}strip "$OUT/bin/btrfs.box"
endef
