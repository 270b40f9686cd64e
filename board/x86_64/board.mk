# PCs and virtual machines of x86_64: UEFI, or started directly by QEMU.
x86_64_KERNEL := bzImage
x86_64_EFI := arch/x86/boot/bzImage
x86_64_BOOT := BOOTX64.EFI
