# libseccomp: the numbers of system calls, for the generators of the filters
# that programs load and for the table in zrun; and the judge of its compiler.
libseccomp_SOURCE := libseccomp
libseccomp_VERSIONS := \
	2.6.0-2:83b6085232d1588c379dc9b9cae47bb37407cf262e6e74993c61ba72d2a784dc \
	2.5.4-1+deb12u1:d82902400405cf0068574ef3dc1fe5f5926207543ba1ae6f8e7a1576351dcbdb
libseccomp_LICENCE := LGPL-2.1-only
libseccomp_FLAVOURS := host
libseccomp_DEPENDS = $(musl_of)
define libseccomp_BUILD
# gperf is only wanted for a file that the tarball brings along.
host=; [ $FLAVOUR = host ] || host=--host=$HOST
GPERF=true "$SRC/configure" $host --prefix=/ --disable-shared --enable-static \
	--disable-python CC=$CC CFLAGS="$CFLAGS -fPIE"
make -C include
make -C src libseccomp.la
make -C src install-libLTLIBRARIES DESTDIR="$OUT"
make -C include install DESTDIR="$OUT"
rm -f "$OUT"/lib/*.la
endef
