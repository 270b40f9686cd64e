# zstd: layers that are compressed with it; decompression only in our programs.
zstd_SOURCE := libzstd
zstd_VERSIONS := \
	1.5.7+dfsg-1:0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5 \
	1.5.4+dfsg2-5:8cf4bbb65e77ec348d052c8d6230eba66d435bddf64c8b5be2fcb16880c19953
zstd_LICENCE := BSD-3-Clause OR GPL-2.0-only
zstd_FLAVOURS := x86_64 aarch64 host
zstd_DEPENDS = $(musl_of)
define zstd_BUILD
cp -R "$SRC/." .
make -C lib CC=$CC AR=${CROSS}ar CFLAGS="$CFLAGS -fPIE" ZSTD_LEGACY_SUPPORT=0 \
	libzstd.a
mkdir "$OUT/lib" "$OUT/include"
cp lib/libzstd.a "$OUT/lib"
cp lib/zstd.h lib/zstd_errors.h lib/zdict.h "$OUT/include"
endef
