#include "label.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

static bool has_apparmor(void)
{
	char enabled = 'N';
	autoclose int fd = open("/sys/module/apparmor/parameters/enabled",
				O_RDONLY | O_CLOEXEC);

	return fd >= 0 && fd_read(fd, &enabled, 1) == 1 && enabled == 'Y';
}

static bool has_selinux(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

int label_check(const struct runtime_process *process, struct fault *fault)
{
	if (process->apparmor_profile && !has_apparmor())
		return fault_set(fault, 0,
				 "process.apparmorProfile (%.80s): AppArmor is "
				 "not enabled on this host",
				 process->apparmor_profile);
	if (process->selinux_label && !has_selinux())
		return fault_set(fault, 0,
				 "process.selinuxLabel (%.80s): SELinux is not "
				 "enabled on this host",
				 process->selinux_label);
	return 0;
}

int label_check_mounts(const struct runtime_config *config, struct fault *fault)
{
	if (config->mount_label && !has_selinux())
		return fault_set(fault, 0,
				 "linux.mountLabel (%.80s): SELinux is not "
				 "enabled on this host",
				 config->mount_label);
	return 0;
}

bool label_is_of(const char *type)
{
	return strcmp(type, "proc") != 0 && strcmp(type, "sysfs") != 0 &&
	       strcmp(type, "mqueue") != 0;
}
