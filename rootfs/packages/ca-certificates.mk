# The roots of the public certificate authorities, as Mozilla lists them, for
# registries in public: 130 KB of the image.
ca-certificates_SOURCE := ca-certificates
ca-certificates_VERSIONS := \
	20250419+deb13u1:1b2e3d0b90cfc62ac8033d64e18ea4649fbb2a01c937c9ac9d36e762da6b9446 \
	20250419~deb12u2:934942a985b2efd7a8c122cb1d42cd87911cf6ac365c545938619fcf268ea8f4 \
	20230311+deb12u1:4cd6bbd5577a16432438bc1006dc05c333afacb76104fc3564612858c8ee3280
ca-certificates_LICENCE := MPL-2.0
ca-certificates_FLAVOURS := x86_64 aarch64
ca-certificates_INPUTS := rootfs/packages/certdata-to-pem
define ca-certificates_BUILD
"$TOP/rootfs/packages/certdata-to-pem" "$SRC/mozilla/certdata.txt" >"$OUT/cert.pem"
[ $(grep -c BEGIN "$OUT/cert.pem") -gt 100 ]
endef
