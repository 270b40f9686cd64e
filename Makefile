# The only entry. `make` prints help; README.md is the tour.
#
# One file for everything: which parts others wrote (rootfs/packages), how our
# programs are compiled and linked, what is in the image, how it is tested.
# Flavours: x86_64 and aarch64 (static, musl: what a node runs), host (this
# machine's C library with ASan and UBSan: unit tests), fuzz (clang).

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory -j$(shell nproc)
.SUFFIXES:
MAKEOVERRIDES =
STARTED := $(shell date +%s)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:

ARCH := x86_64
ARCHES := x86_64 aarch64
FLAVOURS := $(ARCHES) host fuzz
Q := $(if $(V),,@)
ifeq ($(filter $(ARCH),$(ARCHES)),)
$(error ARCH=$(ARCH): want one of $(ARCHES))
endif

.PHONY: help deps run hub dev test test-all image flash bench fuzz lint clean \
	cache-gc packages programs FORCE

help:
	@sed -n 's/^#: //p' Makefile

#: make run             a hub and two nodes in QEMU that serve a page through it
#:                      (ONCE=1: then ends; NODES=n)
#: make test            every test, short sizes (test-all: the long ones)
#: make hub             zhub and zctl for this machine, in build/ARCH/bin
#: make image           build/ARCH/zooid.efi and the disk image zooid.img
#:                      (ZOOID=FOLDER: with that node.json, and images)
#: make dev             what a development boot needs; quick after an edit
#: make flash DEV=...   writes the disk image made last onto a whole medium
#: make bench           measured ratios and bounds, build/bench.json
#: make fuzz            every parser of foreign bytes, FUZZ_S seconds each (60)
#: make lint            clang-format, clang-tidy, cppcheck
#: make deps            installs what is missing on Debian 12 or 13
#: make clean           removes build/; the cache outside stays
#: make cache-gc        removes what the cache kept unused for 30 days
#:
#: ARCH=aarch64 chooses the other board, V=1 shows commands. Parts of others
#: are cached in $ZOOID_CACHE, else $XDG_CACHE_HOME/zooid.

# ---- what must be installed ----

DEPS := gcc g++ libc6-dev make flex bison bc perl python3 xz-utils zstd bzip2 \
	cpio patch tcl libelf-dev gcc-aarch64-linux-gnu autoconf automake libtool \
	pkg-config debian-archive-keyring bsdextrautils fdisk dosfstools mtools \
	qemu-system-x86 qemu-system-arm qemu-utils ovmf qemu-efi-aarch64 \
	umoci busybox-static python3-pytest btrfs-progs e2fsprogs curl iproute2 procps \
	skopeo podman nftables containerd uidmap ca-certificates openssl prometheus \
	docker-registry zsh protobuf-c-compiler libprotobuf-dev runc libcap-dev libseccomp-dev libyajl-dev strace valgrind
DEPS_FUZZ := clang libclang-rt-dev
DEPS_BENCH := iperf3 slirp4netns
DEPS_LINT := clang clang-format clang-tidy cppcheck

deps: ; @board/deps $(DEPS)
build/deps: Makefile board/deps
	@board/deps $(DEPS) && mkdir -p build && touch $@
build/deps-fuzz: Makefile board/deps
	@board/deps $(DEPS_FUZZ) && mkdir -p build && touch $@
# Read like a part of this file, so that make brings it up to date first and then
# begins anew, with the programs that this file itself calls.
ifneq ($(filter-out help deps clean cache-gc,$(or $(MAKECMDGOALS),help)),)
include build/deps $(if $(filter test test-all fuzz,$(MAKECMDGOALS)),build/deps-fuzz)
endif
build/deps-bench: Makefile board/deps
	@board/deps $(DEPS_BENCH) && mkdir -p build && touch $@
build/deps-lint: Makefile board/deps
	@board/deps $(DEPS_LINT) && mkdir -p build && touch $@

# ---- parts that others wrote: rootfs/packages/NAME.mk ----

PACKAGES := $(patsubst rootfs/packages/%.mk,%,$(wildcard rootfs/packages/*.mk))
# What a part of flavour $(FLAVOUR) needs to be compiled against musl.
musl_of = $(if $(filter host,$(FLAVOUR)),,musl/$(FLAVOUR))
include $(PACKAGES:%=rootfs/packages/%.mk)
include $(ARCHES:%=board/%/board.mk)

# $(call package_list,NAME,FLAVOUR,VARIABLE)
package_list = $(foreach FLAVOUR,$2,$($1_$3))

# Before a recipe that has makes of its own. `make -n` is to leave it alone: its
# makes would build nothing, and that would be kept.
MAKES := $(if $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),,+)

define package_rule # NAME FLAVOUR
build/$2/pkg/$1.ok: private export PKG_SOURCE = $$($1_SOURCE)
build/$2/pkg/$1.ok: private export PKG_VERSIONS = $$($1_VERSIONS)
build/$2/pkg/$1.ok: private export PKG_SHARED = $$($1_SHARED)
build/$2/pkg/$1.ok: private export PKG_DEPENDS = $(call package_list,$1,$2,DEPENDS)
build/$2/pkg/$1.ok: private export PKG_INPUTS = $(call package_list,$1,$2,INPUTS)
build/$2/pkg/$1.ok: private export PKG_BUILD = $$(value $1_BUILD)
build/$2/pkg/$1.ok: rootfs/packages/$1.mk $(call package_list,$1,$2,INPUTS) \
		$(foreach d,$(call package_list,$1,$2,DEPENDS),build/$(notdir $d)/pkg/$(patsubst %/,%,$(dir $d)).ok) \
		| build/deps
	@# The stamp is as old as what the part was made from.
	$$(MAKES)@mkdir -p $$(@D); stamp=$$@.$$$$$$$$; touch $$$$stamp; \
		if rootfs/packages/build $1 $2 build/$2/pkg/$1; then mv $$$$stamp $$@; \
		else rm $$$$stamp; exit 1; fi
packages: build/$2/pkg/$1.ok
endef
$(foreach p,$(PACKAGES),$(foreach f,$($p_FLAVOURS),\
	$(eval $(call package_rule,$p,$f))))

cache-gc: ; @rootfs/packages/cache-gc
# What cache-gc removed is no longer made.
$(shell find build/*/pkg -maxdepth 1 -xtype l -printf '%p.ok\n' 2>/dev/null | \
	xargs -r rm -f)

# ---- modules, and what each may include ----
#
# A module's include path is a folder of links to what it may use: the layers
# below it, and the headers that declare the messages of programs it talks to.

base_SRC := $(filter-out init/base/mk%,$(wildcard init/base/*.c))
init_SRC := $(wildcard init/*.c)
zlog_SRC := $(wildcard init/zlog/*.c)
oci_SRC := $(wildcard runtime/oci/*.c runtime/oci/*/*.c)
image_SRC := $(wildcard runtime/image/*.c)
registry_SRC := $(wildcard runtime/image/registry/*.c)
zpull_SRC := $(wildcard runtime/image/zpull/*.c)
zunpack_SRC := $(wildcard runtime/image/zunpack/*.c)
grant_SRC := $(wildcard runtime/grant/*.c)
zrun_SRC := $(filter-out runtime/zrun/mk%,$(wildcard runtime/zrun/*.c runtime/zrun/*/*.c))
node_SRC := $(wildcard runtime/node/*.c)
net_SRC := $(wildcard runtime/net/*.c)
reap_SRC := $(wildcard runtime/reap/*.c)
wire_SRC := $(wildcard sync/wire/*.c)
hub_SRC := $(wildcard sync/hub/*.c)
agent_SRC := $(wildcard sync/agent/*.c)
ctl_SRC := $(wildcard sync/ctl/*.c)
MODULES := base init zlog oci image registry zpull zunpack zrun grant reap node net wire hub agent ctl

DIR_base := init/base
DIR_init := init
DIR_zlog := init/zlog
DIR_oci := runtime/oci
DIR_image := runtime/image
DIR_registry := runtime/image/registry
DIR_zpull := runtime/image/zpull
DIR_zunpack := runtime/image/zunpack
DIR_zrun := runtime/zrun
DIR_grant := runtime/grant
DIR_node := runtime/node
DIR_reap := runtime/reap
DIR_net := runtime/net
DIR_wire := sync/wire
DIR_hub := sync/hub
DIR_agent := sync/agent
DIR_ctl := sync/ctl

# Whole layers.
SEES_base := base
SEES_init := base
SEES_zlog := base
SEES_oci := base oci
SEES_image := base oci image
SEES_registry := base oci registry
SEES_zpull := base oci registry
SEES_zunpack := base oci image
SEES_grant := base oci
SEES_zrun := base oci image zrun
SEES_node := base oci
SEES_reap :=
SEES_net := base oci
SEES_wire := base oci
SEES_hub := base oci wire registry hub
SEES_agent := base oci wire
SEES_ctl := base oci wire registry
SEES_test := base oci image registry zpull zrun node net init zlog wire hub agent ctl
# Messages.
SPEAKS_base := init/init.h
SPEAKS_init := init/init.h runtime/zrun/serve.h runtime/node/znode.h sync/agent/zagent.h
SPEAKS_zlog := init/init.h
SPEAKS_zrun := init/init.h runtime/net/outlet.h
SPEAKS_node := init/init.h init/zlog/zlog.h runtime/zrun/serve.h runtime/net/route.h runtime/net/outlet.h \
	runtime/node/znode.h runtime/image/zpull/zpull.h runtime/net/znet.h sync/agent/zagent.h
SPEAKS_net := init/init.h runtime/zrun/serve.h runtime/net/route.h
SPEAKS_zpull := init/init.h sync/agent/zagent.h runtime/image/zpull/zpull.h
SPEAKS_ctl := init/zlog/zlog.h
SPEAKS_agent := init/init.h init/zlog/zlog.h runtime/node/znode.h sync/agent/zagent.h

build/include/ok: Makefile
	$(Q)$(foreach m,$(MODULES) test,mkdir -p build/include/$m; \
		$(foreach s,$(SEES_$m),ln -sfn ../../../$(DIR_$s) build/include/$m/$s;) \
		$(foreach h,$(SPEAKS_$m),mkdir -p build/include/$m/$(notdir $(patsubst %/,%,$(dir $h))); \
			ln -sfn ../../../../$h build/include/$m/$(notdir $(patsubst %/,%,$(dir $h)));))
	$(Q)touch $@

# ---- seccomp filters, from the lists beside the code ----

FILTERS := unpack zgrant zlog znode znet zpull zhub zagent
FILTER_unpack := runtime/image/worker.c
FILTER_zgrant := $(grant_SRC)
FILTER_zlog := $(zlog_SRC)
FILTER_znode := $(node_SRC)
FILTER_znet := $(net_SRC)
FILTER_zpull := $(zpull_SRC) $(registry_SRC) init/base/resolve.c
FILTER_zhub := $(hub_SRC) $(registry_SRC) init/base/resolve.c
FILTER_zagent := $(agent_SRC) sync/wire/http_dial.c init/base/resolve.c
# What the run time of the sanitizers calls beside.
SANITIZER_CALLS := mprotect sigaltstack readlink openat pread64 lseek fstat \
	newfstatat ioctl sched_yield sched_getaffinity prlimit64 uname \
	getrandom clone clone3 wait4 prctl set_robust_list rseq gettid

build/host/gen/mkfilter: init/base/mkfilter.c build/host/pkg/libseccomp.ok
	$(Q)mkdir -p $(@D)
	$(Q)gcc -std=gnu11 -O1 $(WARN) -Ibuild/host/pkg/libseccomp/include -o $@ $< \
		build/host/pkg/libseccomp/lib/libseccomp.a

# The default profile of containers, and the numbers for those of others.
build/host/gen/mkseccomp build/host/gen/mkcalls: build/host/gen/%: runtime/zrun/%.c \
		runtime/zrun/seccomp_call.h build/host/pkg/libseccomp.ok
	$(Q)mkdir -p $(@D)
	$(Q)gcc -std=gnu11 -O1 $(WARN) -Ibuild/host/pkg/libseccomp/include -o $@ $< \
		build/host/pkg/libseccomp/lib/libseccomp.a

define profile_rule # FLAVOUR ARCH
build/$1/gen/seccomp_default.h: build/host/gen/mkseccomp
	$(Q)mkdir -p $$(@D)
	$(Q)build/host/gen/mkseccomp $2 >$$@.new && mv $$@.new $$@
build/$1/gen/seccomp_calls.h: build/host/gen/mkcalls
	$(Q)mkdir -p $$(@D)
	$(Q)build/host/gen/mkcalls $2 >$$@.new && mv $$@.new $$@
endef
$(foreach f,x86_64 aarch64,$(eval $(call profile_rule,$f,$f)))
$(foreach f,host fuzz,$(eval $(call profile_rule,$f,$(shell uname -m))))

define filter_rule # FLAVOUR FILTER ARCH FLAGS
build/$1/gen/$2_filter.h: init/base/confine.h $(FILTER_$2) build/host/gen/mkfilter
	$(Q)mkdir -p $$(@D)
	$(Q)build/host/gen/mkfilter -a $3 $4 -o $$@ init/base/confine.h $(FILTER_$2)
endef
$(foreach f,$(FILTERS),\
	$(eval $(call filter_rule,x86_64,$f,x86_64))\
	$(eval $(call filter_rule,aarch64,$f,aarch64))\
	$(foreach h,host fuzz,$(eval $(call filter_rule,$h,$f,\
		$(shell uname -m),-x "$(SANITIZER_CALLS)"))))

# ---- compiling ----

WARN := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes \
	-Wno-unused-parameter -Werror
CFLAGS := -std=gnu11 -g $(WARN)
TARGET_CFLAGS := -O2 -ffunction-sections -fdata-sections -fstack-protector-strong \
	-fno-asynchronous-unwind-tables -fno-unwind-tables

CC_x86_64 = build/x86_64/pkg/musl/bin/x86_64-linux-musl-gcc
CC_aarch64 = build/aarch64/pkg/musl/bin/aarch64-linux-musl-gcc
CC_host = gcc
CC_fuzz = clang
AR_x86_64 = build/x86_64/pkg/musl/bin/x86_64-linux-musl-ar
AR_aarch64 = build/aarch64/pkg/musl/bin/aarch64-linux-musl-ar
AR_host = ar
AR_fuzz = ar
STRIP_x86_64 = build/x86_64/pkg/musl/bin/x86_64-linux-musl-strip
STRIP_aarch64 = build/aarch64/pkg/musl/bin/aarch64-linux-musl-strip
STRIP_host = cp
CFLAGS_x86_64 = $(TARGET_CFLAGS)
CFLAGS_aarch64 = $(TARGET_CFLAGS)
# Of zrun, which is to be small. On aarch64 a frame pointer is the default.
SMALL := -fno-pie -Os -fomit-frame-pointer
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer
CFLAGS_host = -O1 $(SANITIZE)
CFLAGS_fuzz = -O1 $(SANITIZE) -fsanitize=fuzzer-no-link
comma := ,
# Position independent for what reads foreign bytes; zrun starts faster without,
# small, and in few segments: most of a start of its own is page faults.
LDFLAGS_x86_64 = -Wl,--gc-sections,-z,relro,-z,now,-z,noexecstack
# Our kernel has pages of 4 KB; the linker would align for 64.
LDFLAGS_aarch64 = $(LDFLAGS_x86_64),-z,max-page-size=4096
LDFLAGS_host = $(SANITIZE)
LDFLAGS_fuzz = $(SANITIZE)
LINK_fixed := -static -no-pie -Wl,-z,noseparate-code
# And with what a start touches side by side; nobody would protect what is to be
# read-only after relocation, as nothing is relocated.
# For json_real_pass see json_real.c.
LINK_zrun := $(LINK_fixed),-z,norelro,-T,runtime/zrun/order.ld \
	-Wl,--defsym=strtod=json_real_pass
LINK_zreap := $(LINK_fixed)
LINK_x86_64 = $(or $(LINK_$1),-static-pie)
LINK_aarch64 = $(LINK_x86_64)

# Third-party libraries of each flavour, and the one place that includes each.
pkg = build/$(if $(filter fuzz,$1),host,$1)/pkg
USES_init/base := yyjson
USES_runtime/oci := yyjson
USES_runtime/oci/digest := mbedtls
USES_runtime/image := yyjson libarchive zlib zstd
USES_runtime/image/registry := curl yyjson
USES_runtime/zrun := yyjson
USES_runtime/node := yyjson
USES_runtime/net := lwip
USES_sync/wire := mbedtls nghttp2 http-parser
USES_sync/hub := yyjson sqlite3
USES_sync/agent := yyjson
USES_sync/ctl := yyjson libyaml
USES_tests/fuzz := yyjson lwip
USES_tests/bench := mbedtls
USES_tests/unit := sqlite3 yyjson zlib libseccomp lwip

define compile_rule # FLAVOUR DIRECTORY MODULE MORE_FLAGS PLACE
build/$1/obj/$5$2/%.o: $2/%.c \
		$(foreach p,$(USES_$2),$(call pkg,$1)/$p.ok) \
		$(if $(CC_$1:build/%=),,build/$1/pkg/musl.ok) \
		| build/deps build/include/ok build/$1/gen/seccomp_default.h build/$1/gen/seccomp_calls.h \
		build/gen/version.h $(FILTERS:%=build/$1/gen/%_filter.h)
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC_$1) $$(CFLAGS) $$(CFLAGS_$1) $4 -Ibuild/include/$3 -Ibuild/$1/gen -Ibuild/gen \
		$(foreach p,$(USES_$2),-isystem $(call pkg,$1)/$p/include) \
		-MMD -MP -c -o $$@ $$<
endef
DIRS := $(sort $(dir $(foreach m,$(MODULES),$($m_SRC))))
# The innermost: a module within another one's folder is listed after it.
module_of = $(or $(lastword $(foreach m,$(filter-out init,$(MODULES)),\
	$(if $(filter $(DIR_$m)/%,$1/),$m))),init)
$(foreach f,$(FLAVOURS),$(foreach d,$(patsubst %/,%,$(DIRS)),\
	$(eval $(call compile_rule,$f,$d,$(call module_of,$d),\
		$(if $(filter host fuzz,$f),,$(if $(filter zrun reap,$(call module_of,$d)),$(SMALL),\
		-fPIE $(if $(filter oci,$(call module_of,$d)),-Os)))))))

# What zrun shares with others is compiled for it once more.
FIXED := base oci image
PLACE_zrun := fixed/
$(foreach f,$(ARCHES),$(foreach m,$(FIXED),$(foreach d,$(sort $(dir $($m_SRC))),\
	$(eval $(call compile_rule,$f,$(d:%/=%),$m,$(SMALL),fixed/)))))

objects = $(patsubst %.c,build/$1/obj/$3%.o,$($2_SRC))

define archive_rule # FLAVOUR MODULE PLACE
build/$1/lib/$3lib$2.a: $(call objects,$1,$2,$3)
	$(Q)mkdir -p $$(@D)
	$(Q)rm -f $$@
	$(Q)$$(AR_$1) rcs $$@ $$^
endef
$(foreach f,$(FLAVOURS),$(foreach m,$(MODULES),$(eval $(call archive_rule,$f,$m))))
$(foreach f,$(ARCHES),$(foreach m,$(FIXED),$(eval $(call archive_rule,$f,$m,fixed/))))

# ---- programs ----

PROGRAMS := init zlog zrun zunpack zgrant zreap znode znet zpull zhub zagent zctl
MODULE_init := init
MODULE_zlog := zlog
MODULE_zrun := zrun
MODULE_zunpack := zunpack
MODULE_zgrant := grant
MODULE_zreap := reap
MODULE_znode := node
MODULE_znet := net
MODULE_zpull := zpull
MODULE_zhub := hub
MODULE_zagent := agent
MODULE_zctl := ctl
NEEDS_init := base
NEEDS_zlog := base
NEEDS_zrun := image oci base
NEEDS_zunpack := image oci base
NEEDS_zgrant := oci base
NEEDS_znode := oci base
NEEDS_znet := oci base
NEEDS_zpull := registry oci base
NEEDS_zhub := registry wire oci base
NEEDS_zagent := wire oci base
NEEDS_zctl := wire oci base
LIBS_base := yyjson/libyyjson
LIBS_oci := mbedtls/libmbedx509 mbedtls/libmbedcrypto
LIBS_registry := curl/libcurl mbedtls/libmbedtls
LIBS_image := libarchive/libarchive zlib/libz zstd/libzstd
LIBS_net := lwip/liblwip
LIBS_wire := mbedtls/libmbedtls nghttp2/libnghttp2 http-parser/libhttp_parser
LIBS_hub := sqlite3/libsqlite3
LIBS_ctl := libyaml/libyaml
# crypt(3) is in a library of its own but for musl, whose libcrypt is empty.
SYSTEM_init := -lcrypt
# The judge of the compiler of seccomp profiles.
LIBS_test := libseccomp/libseccomp

# $(call foreign,FLAVOUR,MODULES): their archives, in link order.
foreign = $(foreach m,$2,$(foreach l,$(LIBS_$m),\
	$(call pkg,$1)/$(dir $l)lib/$(notdir $l).a))
foreign_ok = $(foreach m,$2,$(foreach l,$(LIBS_$m),\
	$(call pkg,$1)/$(patsubst %/,%,$(dir $l)).ok))

define program_rule # FLAVOUR PROGRAM
build/$1/sym/$2: $(call objects,$1,$(MODULE_$2)) \
		$(foreach m,$(NEEDS_$2),build/$1/lib/$(if $(filter $(ARCHES),$1),$(PLACE_$2))lib$m.a) \
		$(call foreign_ok,$1,$(MODULE_$2) $(NEEDS_$2)) \
		$(if $(filter zrun,$2),runtime/zrun/order.ld)
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC_$1) $$(LDFLAGS_$1) $$(call LINK_$1,$2) -o $$@ \
		$$(filter %.o,$$^) $$(filter %.a,$$^) \
		$(call foreign,$1,$(MODULE_$2) $(NEEDS_$2)) $(SYSTEM_$2)
build/$1/bin/$2: build/$1/sym/$2
	$(Q)mkdir -p $$(@D)
	$(Q)$$(STRIP_$1) $(if $(filter host,$1),$$< $$@,-o $$@ $$<)
	@printf '  %-14s %-8s linked    %d bytes\n' $2 $1 $$$$(stat -c %s $$@)
endef
$(foreach f,$(ARCHES) host,$(foreach p,$(PROGRAMS),\
	$(eval $(call program_rule,$f,$p))))

# zrun starts them.
$(foreach f,$(ARCHES) host,$(eval build/$f/bin/zrun: | build/$f/bin/zunpack build/$f/bin/zgrant build/$f/bin/zreap))

# Only those whose main exists.
EXISTING := $(foreach p,$(PROGRAMS),$(if $(shell grep -ls '^int main' \
	$($(MODULE_$p)_SRC) /dev/null),$p))
programs: $(foreach f,$(ARCHES),$(EXISTING:%=build/$f/bin/%))

# ---- the image ----
#
# root.erofs holds what rootfs/files lists. The initramfs is /init and
# root.erofs; linked into the kernel it makes the one file that boots. A
# development boot passes it by -initrd instead, over the built-in one.

SOURCE_TIME := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),$(shell stat -c %Y Makefile))
VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
# Deterministic, and the same name for every build.
EROFS_UUID := 7a6f6f69-6400-4000-8000-000000000001

build/gen/version.h: build/gen/version
	$(Q)echo "#define ZOOID_VERSION \"$$(cat $<)\"" >$@
build/gen/build-time build/gen/version: build/gen/%: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(if $(filter version,$*),$(VERSION),$(SOURCE_TIME))' >$@.new
	$(Q)cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# Of the kernel's own tools, which builds it only for a list it reads itself.
build/host/gen/gen_init_cpio: build/x86_64/pkg/linux.ok
	$(Q)mkdir -p $(@D)
	$(Q)gcc -O1 -o $@ "$$(cat build/x86_64/pkg/linux/source)/usr/gen_init_cpio.c"

define image_rule # ARCH
build/$1/root.erofs: rootfs/files rootfs/pack \
		$(filter-out build/$1/pkg/%,$(if $(wildcard build/deps),$(shell rootfs/pack rootfs/files build/$1 --sources))) \
		build/$1/pkg/btrfs-progs.ok build/$1/pkg/busybox.ok \
		build/$1/pkg/ca-certificates.ok build/$1/pkg/criu.ok build/host/pkg/erofs-utils.ok
	$(Q)rootfs/pack rootfs/files build/$1 build/$1/root.tar
	$(Q)build/host/pkg/erofs-utils/bin/mkfs.erofs --quiet -zlz4hc,12 -C65536 \
		-Efragments,ztailpacking -T$(SOURCE_TIME) -U$(EROFS_UUID) --tar=f \
		$$@.new build/$1/root.tar >build/$1/erofs.log
	$(Q)mv $$@.new $$@
build/$1/dev.cpio: build/$1/root.erofs build/$1/bin/init build/host/gen/gen_init_cpio
	$(Q)printf '%s\n' 'dir /dev 0755 0 0' 'nod /dev/console 0600 0 0 c 5 1' \
		'file /init build/$1/bin/init 0755 0 0' \
		'file /root.erofs build/$1/root.erofs 0644 0 0' >build/$1/initramfs
	$(Q)build/host/gen/gen_init_cpio -t $(SOURCE_TIME) \
		build/$1/initramfs >$$@.new
	$(Q)mv $$@.new $$@
build/$1/kernel.ok: build/$1/dev.cpio build/$1/pkg/linux.ok board/link board/set-initramfs
	$$(MAKES)$(Q)start=$$$$(date +%s); BUILD=build/$1 board/link $($1_KERNEL) \
		>build/$1/linux.log 2>&1 || { tail -n 20 build/$1/linux.log; exit 1; }; \
		cp build/$1/linux/$($1_EFI) build/$1/zooid.efi.new; \
		mv build/$1/zooid.efi.new build/$1/zooid.efi; \
		$(if $($1_IMAGE),cp build/$1/linux/$($1_IMAGE) build/$1/Image.new; \
		mv build/$1/Image.new build/$1/Image;) \
		printf '  %-14s %-8s linked %6d s  %d bytes\n' zooid.efi $1 \
			$$$$(($$$$(date +%s) - start)) $$$$(stat -c %s build/$1/zooid.efi)
	$(Q)touch $$@
dev-$1: build/$1/dev.cpio $(if $(wildcard build/$1/zooid.efi),,build/$1/kernel.ok)
image-$1: build/$1/kernel.ok
.PHONY: dev-$1 image-$1
endef
$(foreach f,$(ARCHES),$(eval $(call image_rule,$f)))

# Says what a node.json makes of a node.
build/host/gen/mknode: init/base/mknode.c build/host/lib/libbase.a build/host/pkg/yyjson.ok
	$(Q)mkdir -p $(@D)
	$(Q)gcc $(CFLAGS) $(CFLAGS_host) -Ibuild/include/base -o $@ $< \
		build/host/lib/libbase.a build/host/pkg/yyjson/lib/libyyjson.a

dev: dev-$(ARCH)
# ZOOID=FOLDER: what is put onto the ZOOID partition, node.json and images. The
# shell reads it from the environment: it may hold any character.
export ZOOID
image: build/$(ARCH)/zooid.img
build/%/zooid.img: build/%/kernel.ok board/mkdisk build/host/gen/mknode FORCE
	$(Q)folder=$${ZOOID:-rootfs/zooid}; about=$$(build/host/gen/mknode "$$folder") && \
		board/mkdisk -b $($*_BOOT)=build/$*/zooid.efi $@ "$$folder" && \
		printf '  %-14s %-8s %s\n' zooid.img $* "$$about"
# Writes the image that was made last: another one only where ZOOID says of what.
flash: build/host/gen/mknode $(if $(ZOOID),image,$(if $(wildcard build/$(ARCH)/zooid.img),,image))
	@test -n "$(DEV)" || { echo 'usage: make flash DEV=/dev/...'; exit 2; }
	@board/flash build/$(ARCH)/zooid.img "$(DEV)"

# ---- tests ----

UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*_test.c))
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*_fuzz.c))
# A test links what it refers to; a test of one program names its module here
# when another program has a function of the same name.
TEST_MODULES := init zlog node net zrun image oci base
TEST_LIBS := base oci image net test
$(foreach t,$(filter wire_% envelope_% http1_% h2_%,$(UNIT_TESTS) $(FUZZERS)),\
	$(eval MODULES_$t := wire oci base))
$(foreach t,$(filter agent_%,$(UNIT_TESTS) $(FUZZERS)),\
	$(eval MODULES_$t := agent wire oci base))
$(foreach t,$(filter registry_%,$(UNIT_TESTS) $(FUZZERS)),\
	$(eval MODULES_$t := registry oci base))
MODULES_store_test := hub base
MODULES_blob_test := hub oci base
MODULES_trust_test := node wire oci base
$(foreach t,$(filter compose_%,$(UNIT_TESTS)) compose_fuzz tar_fuzz,$(eval MODULES_$t := ctl oci base))

$(foreach f,host fuzz,$(eval $(call compile_rule,$f,tests/unit,test)))
$(foreach f,host fuzz,$(eval $(call compile_rule,$f,tests/fuzz,test)))

define test_rule # FLAVOUR DIRECTORY NAME LDFLAGS
build/$1/$2/$3: build/$1/obj/tests/$2/$3.o \
		$(foreach m,$(or $(MODULES_$3),$(TEST_MODULES)),build/$1/lib/lib$m.a) \
		$(call foreign_ok,$1,$(or $(MODULES_$3),$(TEST_LIBS)))
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC_$1) $$(LDFLAGS_$1) $4 -o $$@ $$(filter %.o,$$^) \
		-Wl,--start-group $$(filter %.a,$$^) \
		$(call foreign,$1,$(or $(MODULES_$3),$(TEST_LIBS))) -Wl,--end-group
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call test_rule,host,unit,$t)))
$(foreach t,$(FUZZERS),$(eval $(call test_rule,fuzz,fuzz,$t,-fsanitize=fuzzer)))

# What bench runs, compiled as what it measures.
define bench_rule # FLAVOUR NAME
build/$1/bench/$2: build/$1/obj/tests/bench/$2.o \
		$(foreach m,wire oci base,build/$1/lib/lib$m.a) \
		$(call foreign_ok,$1,wire oci base)
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC_$1) $$(LDFLAGS_$1) $$(call LINK_$1,$2) -o $$@ \
		$$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) \
		-Wl,--end-group $(call foreign,$1,wire oci base)
endef
BENCHES := $(patsubst tests/bench/%.c,%,$(wildcard tests/bench/*.c))
$(foreach a,$(ARCHES),$(eval $(call compile_rule,$a,tests/bench,test,-fPIE))\
	$(foreach b,$(BENCHES),$(eval $(call bench_rule,$a,$b))))

# What the tests put into a node, and into a container.
define guest_rule # FLAVOUR SOURCE
build/$1/tests/$(basename $(notdir $2)): $2 build/$1/pkg/musl.ok build/$1/pkg/linux-headers.ok
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC_$1) $(CFLAGS) $(TARGET_CFLAGS) -static -no-pie -s -o $$@ $$<
endef
GUESTS := $(wildcard tests/system/*.c tests/conformance/*.c)
$(foreach a,$(ARCHES),$(foreach g,$(GUESTS),$(eval $(call guest_rule,$a,$g))))
$(ARCHES:%=build/%/tests/super_recover): $(wildcard init/super*)
guests: $(foreach a,$(ARCHES),$(addprefix build/$a/tests/,$(basename $(notdir $(GUESTS)))))

# znet with what it ends with changed: see its head.
define soak_rule # FLAVOUR
build/$1/tests/znet_soak: build/$1/obj/tests/soak/znet_soak.o \
		$(call objects,$1,net) $(foreach m,oci base,build/$1/lib/lib$m.a) \
		$(call foreign_ok,$1,net oci base)
	$(Q)mkdir -p $$(@D)
	$(Q)$$(CC_$1) $$(LDFLAGS_$1) $$(call LINK_$1,znet) -o $$@ $$(filter %.o,$$^) \
		$$(filter %.a,$$^) $(call foreign,$1,net oci base)
endef
$(foreach f,x86_64 host,$(eval $(call compile_rule,$f,tests/soak,test,$(if $(filter x86_64,$f),-fPIE)))\
	$(eval $(call soak_rule,$f)))
soak: build/x86_64/tests/znet_soak build/host/tests/znet_soak
.PHONY: soak

unit: $(UNIT_TESTS:%=build/host/unit/%)
fuzzers: $(FUZZERS:%=build/fuzz/fuzz/%)
.PHONY: unit fuzzers guests

# What people run on an ordinary machine.
HUB_SIDE := $(addprefix build/$(shell uname -m)/bin/,zhub zctl)
TESTED := $(ARCHES:%=image-%) $(ARCHES:%=dev-%) guests unit build/host/gen/mknode $(addprefix build/host/bin/,init znet zlog znode zpull zhub zctl zagent) \
	$(HUB_SIDE) fuzzers soak
hub: $(HUB_SIDE)
run: image-$(ARCH) $(HUB_SIDE)
	@ARCH=$(ARCH) tests/system/run.py
test: $(TESTED)
	@ZOOID_STARTED=$(STARTED) tests/run
test-all: $(TESTED)
	@ZOOID_STARTED=$(STARTED) ZOOID_TEST_FULL=1 tests/run
fuzz: fuzzers
	@ZOOID_FUZZ_S=$(or $(FUZZ_S),60) tests/run fuzz
bench: $(ARCHES:%=image-%) dev $(addprefix build/x86_64/bin/,zhub zagent zrun znet znode) build/host/pkg/crun.ok \
		build/host/pkg/passt.ok build/deps-bench build/$(ARCH)/tests/audited \
		$(BENCHES:%=build/$(ARCH)/bench/%)
	@tests/bench/run.py

# ---- lint ----

SOURCES := $(foreach m,$(MODULES),$($m_SRC))
FORMATTED := $(wildcard $(foreach d,$(sort $(dir $(SOURCES))) tests/unit/ tests/fuzz/ tests/system/ \
	tests/conformance/,$d*.c $d*.h))
LINT_NEEDS := build/deps-lint build/include/ok build/gen/version.h build/host/gen/seccomp_default.h \
	build/host/gen/seccomp_calls.h $(FILTERS:%=build/host/gen/%_filter.h) \
	$(foreach l,$(sort $(foreach d,$(DIRS:%/=%),$(USES_$d))),build/host/pkg/$l.ok)
# One rule a source: all of them in one command are more than a command may hold.
define tidy_rule # SOURCE DIRECTORY
tidy/$1: $(LINT_NEEDS)
	$(Q)clang-tidy --quiet $1 -- $(CFLAGS) -Ibuild/include/$(call module_of,$2) \
		-Ibuild/host/gen -Ibuild/gen $(foreach u,$(USES_$2),-isystem build/host/pkg/$u/include) \
		2>/dev/null
.PHONY: tidy/$1
endef
$(foreach s,$(SOURCES),$(eval $(call tidy_rule,$s,$(patsubst %/,%,$(dir $s)))))
lint-format: build/deps-lint
	$(Q)clang-format --dry-run -Werror $(FORMATTED)
lint-cppcheck: build/deps-lint
	$(Q)cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j$(shell nproc) \
		--enable=warning,performance,portability \
		--suppressions-list=.cppcheck $(SOURCES)
# All that each of them says, not only the first.
MAKEFLAGS += $(if $(filter lint,$(MAKECMDGOALS)),-k -Otarget)
lint: lint-format lint-cppcheck $(SOURCES:%=tidy/%)
.PHONY: lint-format lint-cppcheck

# ---- the rest of the dependencies ----

-include $(foreach f,$(FLAVOURS),$(foreach m,$(MODULES),\
	$(patsubst %.o,%.d,$(call objects,$f,$m) \
		$(if $(filter $(FIXED),$m),$(call objects,$f,$m,fixed/)))))
-include $(UNIT_TESTS:%=build/host/obj/tests/unit/%.d)
-include $(FUZZERS:%=build/fuzz/obj/tests/fuzz/%.d)

clean:
	rm -rf build
FORCE:
