# libyaml: the scanner and parser of YAML, for Compose files.
libyaml_SOURCE := libyaml
libyaml_VERSIONS := \
	0.2.5-2:fa240dbf262be053f3898006d502d514936c818e422afdcf33921c63bed9bf2e \
	0.2.5-1:fa240dbf262be053f3898006d502d514936c818e422afdcf33921c63bed9bf2e
libyaml_LICENCE := MIT
libyaml_FLAVOURS := x86_64 aarch64 host
libyaml_DEPENDS = $(musl_of)
define libyaml_BUILD
# What only reads; the version is told by the build system otherwise.
$CC $CFLAGS -fPIE -I"$SRC/include" -DYAML_DECLARE_STATIC \
	-DYAML_VERSION_MAJOR=0 -DYAML_VERSION_MINOR=2 -DYAML_VERSION_PATCH=5 \
	-DYAML_VERSION_STRING='"0.2.5"' -c "$SRC"/src/{api,reader,scanner,parser}.c
mkdir "$OUT/lib" "$OUT/include"
${CROSS}ar rcs "$OUT/lib/libyaml.a" *.o
cp "$SRC/include/yaml.h" "$OUT/include"
endef
