# SQLite: the hub's store, and nothing else includes it. One thread, no
# extensions, none of what only other users need.
sqlite3_SOURCE := sqlite3
sqlite3_VERSIONS := \
	3.46.1-7+deb13u2:d0cdd2ece271b29e7ce18095745d892517ee26d0f270065b3a25c2e9eb11639c
sqlite3_LICENCE := blessing
sqlite3_FLAVOURS := x86_64 aarch64 host
sqlite3_DEPENDS = $(musl_of)
define sqlite3_BUILD
make -f "$SRC/main.mk" TOP="$SRC" BCC=gcc TCC=gcc TLIBS= OPTS= EXE= \
	NAWK=awk sqlite3.c
$CC $CFLAGS -fPIE -DSQLITE_THREADSAFE=0 -DSQLITE_DQS=0 \
	-DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_DEFAULT_FOREIGN_KEYS=0 \
	-DSQLITE_LIKE_DOESNT_MATCH_BLOBS -DSQLITE_MAX_EXPR_DEPTH=0 \
	-DSQLITE_MAX_MMAP_SIZE=0 -DSQLITE_OMIT_AUTHORIZATION \
	-DSQLITE_OMIT_DECLTYPE -DSQLITE_OMIT_DEPRECATED -DSQLITE_OMIT_JSON \
	-DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_PROGRESS_CALLBACK \
	-DSQLITE_OMIT_SHARED_CACHE -DSQLITE_OMIT_TRACE -DSQLITE_OMIT_UTF16 \
	-DHAVE_FDATASYNC=1 -DHAVE_USLEEP=1 -c sqlite3.c
mkdir "$OUT/lib" "$OUT/include"
${CROSS}ar rcs "$OUT/lib/libsqlite3.a" sqlite3.o
cp sqlite3.h "$OUT/include"
endef
