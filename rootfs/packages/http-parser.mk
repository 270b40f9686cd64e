# http-parser: HTTP/1.1, which registry clients and Prometheus speak.
http-parser_SOURCE := http-parser
http-parser_VERSIONS := \
	2.9.4-6:467b9e30fd0979ee301065e70f637d525c28193449e1b13fbcb1b1fab3ad224f
http-parser_LICENCE := MIT
http-parser_FLAVOURS := x86_64 aarch64 host
http-parser_DEPENDS = $(musl_of)
define http-parser_BUILD
$CC $CFLAGS -fPIE -c "$SRC/http_parser.c"
mkdir "$OUT/lib" "$OUT/include"
${CROSS}ar rcs "$OUT/lib/libhttp_parser.a" http_parser.o
cp "$SRC/http_parser.h" "$OUT/include"
endef
