# yyjson: the JSON parser and writer.
yyjson_SOURCE := yyjson
yyjson_VERSIONS := \
	0.10.0+ds-1:ae6fde69a193e10afab426ef13f113d6903446405f9db9ee98bfb572bd6c961a
yyjson_LICENCE := MIT
yyjson_FLAVOURS := x86_64 aarch64 host
yyjson_DEPENDS = $(musl_of)
define yyjson_BUILD
# Our documents are small: what is not standard JSON is left out, and so is what
# makes large ones fast. What it wants inline is so only where that is smaller:
# 24 KB less, and as fast.
$CC $CFLAGS -Os -DYYJSON_DISABLE_NON_STANDARD=1 \
	-DYYJSON_DISABLE_FAST_FP_CONV=1 \
	"-Dyyjson_inline=__attribute__((unused))" \
	-fPIE -c "$SRC/src/yyjson.c"
mkdir "$OUT/lib" "$OUT/include"
${CROSS}ar rcs "$OUT/lib/libyyjson.a" yyjson.o
cp "$SRC/src/yyjson.h" "$OUT/include"
endef
