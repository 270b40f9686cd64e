# Linux: the kernel of every node, and the guest kernel of the VM classes.
#
# The result is the whole object tree, linked with room for an initramfs;
# board/link puts the real one there, which takes seconds. A changed
# configuration starts from the object tree of the one before: kbuild knows
# what to rebuild. page_alloc.c is compiled for speed: for size, gcc poisons the
# freed initramfs byte by byte, which takes 0.3 s in an emulator. On x86 mremap
# moves pages one by one: when it moves a table of them as a whole it does not
# mark them soft-dirty, and a checkpoint that leaves out what its parent has
# would take them for what lay there before. With linux.patch a container takes
# less memory: the files that it changes are copied into the object tree, where
# kbuild looks before it looks among the sources, which both boards share.
linux_SOURCE := linux
linux_VERSIONS := \
	6.12.107-1:efc76d3c78a5d65f42724118c437d11db1c9f6309a5f024ee9a8b1978fdc6919
linux_LICENCE := GPL-2.0-only WITH Linux-syscall-note
linux_FLAVOURS := x86_64 aarch64
linux_SHARED := y
linux_INPUTS = board/kernel.config board/$(FLAVOUR)/kernel.config \
	board/kernel-check rootfs/packages/linux.patch
define linux_BUILD
case $ARCH in
aarch64) arch=arm64 targets="Image vmlinuz.efi" ;;
*) arch=x86 targets=bzImage ;;
esac
obj=$OUT/obj
if [ -n "$PREVIOUS" ]; then cp -a "$PREVIOUS/obj" "$obj"; else mkdir "$obj"; fi
cat "$TOP/board/kernel.config" "$TOP/board/$ARCH/kernel.config" >"$obj/fragment"
patch=$TOP/rootfs/packages/linux.patch
[ ! -f "$obj/patched" ] || (cd "$obj" && xargs rm -f <patched)
sed -n 's,^+++ b/,,p' "$patch" >"$obj/patched"
while read -r file; do
	mkdir -p "$obj/$(dirname "$file")"
	[ ! -f "$SRC/$file" ] || cp "$SRC/$file" "$obj/$file"
done <"$obj/patched"
patch -s -d "$obj" -p1 <"$patch"
rm -f "$obj/zooid.cpio"
truncate -s 5M "$obj/zooid.cpio"
cat >"$OUT/kbuild" <<EOT
ARCH=$arch CROSS_COMPILE=$CROSS
KBUILD_BUILD_USER=zooid KBUILD_BUILD_HOST=zooid KBUILD_BUILD_VERSION=1
KBUILD_BUILD_TIMESTAMP=2023-11-14
CFLAGS_page_alloc.o=-O2
EOT
if [ $ARCH = x86_64 ]; then
	printf '#undef CONFIG_HAVE_MOVE_%s\n' PMD PUD >"$obj/by-page.h"
	echo CFLAGS_mremap.o=-includeby-page.h >>"$OUT/kbuild"
fi
echo "$SRC" >"$OUT/source"
kbuild() { make -C "$SRC" O="$obj" $(cat "$OUT/kbuild") "$@"; }
kbuild KCONFIG_ALLCONFIG="$obj/fragment" allnoconfig
"$TOP/board/kernel-check" "$obj/fragment" "$obj/.config"
kbuild $targets
endef
