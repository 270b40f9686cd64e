# The kernel's user-space headers, of the very kernel that will run: what the C
# library and our programs are compiled against.
linux-headers_SOURCE := linux
linux-headers_VERSIONS = $(linux_VERSIONS)
linux-headers_LICENCE := GPL-2.0-only WITH Linux-syscall-note
linux-headers_FLAVOURS := x86_64 aarch64
linux-headers_SHARED := y
define linux-headers_BUILD
case $ARCH in aarch64) arch=arm64 ;; *) arch=x86 ;; esac
make -C "$SRC" O="$PWD" ARCH=$arch headers
mkdir "$OUT/include"
cp -R usr/include/. "$OUT/include"
find "$OUT/include" ! -type d ! -name '*.h' -delete
endef
