# lwIP: TCP towards containers, and nothing else of it: znet reads the IP
# headers itself. Compiled with the options and the types in runtime/net.
lwip_SOURCE := lwip
lwip_VERSIONS := \
	2.2.1+dfsg1-1+deb13u1:83729c274c499d3348e9fbbe043a3113f3fa8953e7efddc7c21c7fcbb1f2b7b1
lwip_LICENCE := BSD-3-Clause
lwip_FLAVOURS := x86_64 aarch64 host
lwip_DEPENDS = $(musl_of)
lwip_INPUTS := runtime/net/lwipopts.h runtime/net/arch/cc.h
define lwip_BUILD
mkdir -p "$OUT/lib" "$OUT/include/arch"
cp -R "$SRC/src/include/lwip" "$SRC/src/include/netif" "$OUT/include"
cp "$TOP/runtime/net/lwipopts.h" "$OUT/include"
cp "$TOP/runtime/net/arch/cc.h" "$OUT/include/arch"
for name in def inet_chksum ip mem memp netif pbuf tcp tcp_in tcp_out \
		ipv4/ip4 ipv4/ip4_addr ipv6/icmp6 ipv6/ip6 ipv6/ip6_addr \
		ipv6/nd6; do
	more=
	# In its place comes the one of runtime/net/split.c.
	[ $name != tcp_out ] || more=-Dtcp_split_unsent_seg=tcp_split_by_copy
	$CC $CFLAGS $more -fPIE -I"$OUT/include" -c "$SRC/src/core/$name.c"
done
${CROSS}ar rcs "$OUT/lib/liblwip.a" *.o
endef
