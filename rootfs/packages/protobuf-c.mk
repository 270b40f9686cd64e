# protobuf-c: reads and writes the images of criu.
protobuf-c_SOURCE := protobuf-c
protobuf-c_VERSIONS := \
	1.5.1-1:20d1dc257da96f8ddff8be4dd9779215bbd0a6069ed53bbe9de38fa7629be06b
protobuf-c_LICENCE := BSD-2-Clause
protobuf-c_FLAVOURS := x86_64 aarch64
protobuf-c_DEPENDS = $(musl_of)
define protobuf-c_BUILD
# The run time alone; its compiler is the build machine's.
mkdir -p "$OUT/lib" "$OUT/include/protobuf-c"
$CC $CFLAGS -I"$SRC" -c "$SRC/protobuf-c/protobuf-c.c"
${CROSS}ar rcs "$OUT/lib/libprotobuf-c.a" protobuf-c.o
cp "$SRC/protobuf-c/protobuf-c.h" "$OUT/include/protobuf-c"
# The name that it had, by which criu asks for it.
mkdir "$OUT/include/google"
ln -s ../protobuf-c "$OUT/include/google/protobuf-c"
endef
