# lz4: what the root image is compressed with, at build time.
lz4_SOURCE := lz4
lz4_VERSIONS := \
	1.10.0-4:537512904744b35e232912055ccf8ec66d768639ff3abe5788d90d792ec5f48b \
	1.9.4-1:0b0e3aa07c8c063ddf40b082bdf7e37a1562bda40a0ff5272957f3e987e0e54b
lz4_LICENCE := BSD-2-Clause
lz4_FLAVOURS := host
define lz4_BUILD
cp -R "$SRC/." .
make -C lib CC=$CC CFLAGS="$CFLAGS -fPIC" liblz4.a
mkdir "$OUT/lib" "$OUT/include"
cp lib/liblz4.a "$OUT/lib"
cp lib/lz4.h lib/lz4hc.h lib/lz4frame.h "$OUT/include"
endef
