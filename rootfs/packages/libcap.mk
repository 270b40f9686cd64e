# libcap: its header, by which criu names capabilities; the calls are musl's.
libcap_SOURCE := libcap2
libcap_VERSIONS := \
	1:2.75-10+deb13u1:de4e7e064c9ba451d5234dd46e897d7c71c96a9ebf9a0c445bc04f4742d83632
libcap_LICENCE := BSD-3-Clause OR GPL-2.0-only
libcap_FLAVOURS := x86_64 aarch64
libcap_DEPENDS = $(musl_of)
define libcap_BUILD
mkdir -p "$OUT/include/sys"
cp "$SRC/libcap/include/sys/capability.h" "$OUT/include/sys"
endef
