# busybox: the few tools that a node itself calls, and a shell for the person
# at its console. rootfs/busybox.config lists them.
busybox_SOURCE := busybox
busybox_VERSIONS := \
	1:1.37.0-6:3311dff32e746499f4df0d5df04d7eb396382d7e108bb9250e7b519b837043a4
busybox_LICENCE := GPL-2.0-only
busybox_FLAVOURS := x86_64 aarch64
busybox_DEPENDS = $(musl_of)
busybox_INPUTS := rootfs/busybox.config board/kernel-check
define busybox_BUILD
# The DHCP client counts in seconds; what is lost at the first try, as on a link
# that is just up, is asked again after a fraction of one.
sed -i 's/poll(pfds, 2, timeout \* 1000)/poll(pfds, 2, packet_num == 1 \&\& client_data.state <= REQUESTING ? 300 : timeout * 1000)/' \
	"$SRC/networking/udhcp/dhcpc.c"
[ "$(grep -c 'REQUESTING ? 300 : timeout' "$SRC/networking/udhcp/dhcpc.c")" = 1 ]
kbuild() {
	make -C "$SRC" O="$PWD" CC=$CC AR=${CROSS}ar STRIP=${CROSS}strip \
		NM=${CROSS}nm CROSS_COMPILE=$CROSS SKIP_STRIP=y "$@"
}
# Its allnoconfig takes no fragment. So: all that the fragment makes visible
# gets its default, then what the fragment does not name is turned off again.
wanted=$TOP/rootfs/busybox.config
kbuild allnoconfig
cat "$wanted" .config >.config.new
mv .config.new .config
(yes "" || :) | kbuild oldconfig
awk -F= 'FNR == NR { keep[$1]; next }
	/=y$/ && !($1 in keep) { print "# " $1 " is not set"; next } { print }' \
	"$wanted" .config >.config.new
mv .config.new .config
(yes "" || :) | kbuild oldconfig
"$TOP/board/kernel-check" "$wanted" .config
kbuild busybox
mkdir "$OUT/bin"
${CROSS}strip -o "$OUT/bin/busybox" busybox
endef
