# crun: the peer that benches and the conformance table measure zrun against,
# built as its distribution builds it but without systemd. In no image.
crun_SOURCE := crun
crun_VERSIONS := \
	1.21-1:4bfb700e764a4804a4de3ecf07753f4c391005356d60356df65d80ae0914c486
crun_LICENCE := GPL-2.0-or-later AND LGPL-2.1-or-later
crun_FLAVOURS := host
define crun_BUILD
cp -R "$SRC/." .
./configure --prefix=/ --disable-systemd --disable-criu --disable-libcrun \
	CC=$CC CFLAGS="-g -O2"
make git-version.h
make crun
mkdir "$OUT/bin"
cp crun "$OUT/bin"
strip "$OUT/bin/crun"
endef
