# pasta, the peer of znet's benches: networking for a namespace without
# privilege, on a TCP of its own.
passt_SOURCE := passt
passt_VERSIONS := \
	0.0~git20250503.587980c-2+deb13u1:69d5eb843f7d648c2cc60bfbca6ea7b5014c6b6f07cdee362c2a8cf490515a49
passt_LICENCE := GPL-2.0-or-later
passt_FLAVOURS := host
passt_DEPENDS =
define passt_BUILD
cp -R "$SRC/." .
make VERSION="$VERSION" CFLAGS=-O2 all
mkdir "$OUT/bin"
cp passt "$OUT/bin/pasta"
# Which it starts instead of itself where the processor has it.
[ ! -e passt.avx2 ] || cp passt.avx2 "$OUT/bin/pasta.avx2"
endef
