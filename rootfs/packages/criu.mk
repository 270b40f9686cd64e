# criu: writes the state of a container to disk and makes it run again from
# there. One static program; sockets of other hosts (gnutls) and rules of
# packet filters (nftables) are left out.
criu_SOURCE := criu
criu_VERSIONS := \
	4.1.1-1:f80a66cb3726bb2116266d4759ce3bcbfab7abdb6b6d430bf20dd41911717afe
criu_LICENCE := GPL-2.0-only
criu_FLAVOURS := x86_64 aarch64
criu_DEPENDS = $(musl_of) protobuf-c/$(FLAVOUR) libnl/$(FLAVOUR) \
	libnet/$(FLAVOUR) libcap/$(FLAVOUR) util-linux/$(FLAVOUR)
define criu_BUILD
cp -R "$SRC/." .
# Since Linux 6.16 a TCP socket answers for these two that it has none.
for opt in SO_PASSCRED SO_PASSSEC; do
	sed -i "s/ret |= dump_opt(sk, SOL_SOCKET, $opt, &val);/if (getsockopt(sk, SOL_SOCKET, $opt, \&val, \&(socklen_t){ sizeof(val) }))\n\t\tval = 0;/" criu/sockets.c
done
[ "$(grep -c '&(socklen_t){ sizeof(val) }' criu/sockets.c)" = 2 ]
# A node's kernel has no packet filter, so it tracks no connections either.
sed -i 's/ret = sk = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);/&\n\tif (sk < 0 \&\& errno == EPROTONOSUPPORT)\n\t\treturn 0;/' criu/net.c
[ "$(grep -c 'errno == EPROTONOSUPPORT' criu/net.c)" = 1 ]
# What it finds out of the kernel, some 15 ms of work, it keeps on a tmpfs in
# /run alone, lest it be of another boot, and asks some of it again each time.
# Who names a directory has seen to it that what lies there is of this boot.
sed -i -e 's|ret = asprintf(kdat_file, "%s", KERNDAT_CACHE_FILE);|const char *dir = getenv("CRIU_KDAT_DIR");\n\n\t\tret = asprintf(kdat_file, "%s/" KERNDAT_CACHE_NAME, dir ? dir : KDAT_RUNDIR);|' \
	-e 's/if (fstatfs(fd, &s) < 0 || s.f_type != TMPFS_MAGIC)/if (!getenv("CRIU_KDAT_DIR") \&\& (fstatfs(fd, \&s) < 0 || s.f_type != TMPFS_MAGIC))/' \
	-e 's/return kerndat_try_load_new();/return getenv("CRIU_KDAT_DIR") ? 0 : kerndat_try_load_new();/' criu/kerndat.c
[ "$(grep -c 'getenv("CRIU_KDAT_DIR")' criu/kerndat.c)" = 3 ]
# The call that it injects is written over code of the process's. ptrace writes
# to no mapping that is shared, as that of what PHP 8.4 compiles, which lies
# before the program.
sed -i 's/!(vma_area->e->prot & PROT_EXEC)/& || vma_area->e->flags \& MAP_SHARED/' criu/parasite-syscall.c
[ "$(grep -c 'PROT_EXEC) || vma_area->e->flags & MAP_SHARED' criu/parasite-syscall.c)" = 1 ]
# Some virtual machines take a hardware breakpoint and never trap at it, and it
# waits for ever; it can do without.
sed -i 's/fault_injected(FI_NO_BREAKPOINTS)/true/' criu/parasite-syscall.c criu/cr-restore.c
[ "$(grep -c 'if (true)' criu/parasite-syscall.c)" = 1 ]
[ "$(grep -c 'breakpoint, true)' criu/cr-restore.c)" = 1 ]
# musl declares all of it itself.
sed -i 's|<asm/sigcontext.h>|<signal.h>\n#include <linux/types.h>|' criu/arch/aarch64/include/asm/restorer.h \
	compel/arch/aarch64/src/lib/include/uapi/asm/sigframe.h
cflags="-I$DEP_LIBNL/include/libnl3" ldflags=-static
for dep in "$DEP_PROTOBUF_C" "$DEP_LIBNL" "$DEP_LIBNET" "$DEP_LIBCAP" "$DEP_UTIL_LINUX"; do
	cflags+=" -I$dep/include" ldflags+=" -L$dep/lib"
done
machine=$ARCH
[ $ARCH != x86_64 ] || machine=x86
# Not as an argument: the parasite is linked with flags of its own.
export LDFLAGS="$ldflags"
make criu/criu ARCH=$machine SUBARCH=$ARCH CC=$CC HOSTCC=gcc \
	CROSS_COMPILE=$CROSS NO_GNUTLS=1 WERROR=0 \
	PKG_CONFIG=false \
	USERCFLAGS="$cflags"
mkdir "$OUT/bin"
cp criu/criu "$OUT/bin"
${CROSS}strip "$OUT/bin/criu"
endef
