# Servers and virtual machines of aarch64: UEFI, or started directly by QEMU,
# which loads a plain Image, not the compressed one that firmware starts.
aarch64_KERNEL := Image vmlinuz.efi
aarch64_EFI := arch/arm64/boot/vmlinuz.efi
aarch64_IMAGE := arch/arm64/boot/Image
aarch64_BOOT := BOOTAA64.EFI
