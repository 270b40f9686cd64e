#define _GNU_SOURCE
#include "grant.h"

#include <errno.h>
#include <string.h>

#include "desired.h"
#include "runtime_config.h"

static int capability_read(struct span text, struct grant *grant)
{
	char name[40];
	int n = span_copy(name, sizeof(name), text);

	if (n == 0)
		n = capability_number(name);
	/* One spelling: what is asked for is compared with what is given. */
	if (n < 0 || strcmp(name, capability_name((unsigned)n)) != 0)
		return -EINVAL;
	grant->capability = (unsigned)n;
	return 0;
}

static int access_read(struct span text, uint8_t *access)
{
	*access = 0;
	for (size_t i = 0; i < text.size; i++) {
		uint8_t bit = text.data[i] == 'r'   ? RUNTIME_DEVICE_READ
			      : text.data[i] == 'w' ? RUNTIME_DEVICE_WRITE
			      : text.data[i] == 'm' ? RUNTIME_DEVICE_MKNOD
						    : 0;

		if (!bit || *access & bit)
			return -EINVAL;
		*access |= bit;
	}
	return *access ? 0 : -EINVAL;
}

/* One spelling of each, and none that ends before the text does. */
static bool path_valid(struct span path)
{
	return path.size >= sizeof("/dev/x") - 1 &&
	       memcmp(path.data, "/dev/", 5) == 0 && desired_path_valid(path) &&
	       !memchr(path.data, ':', path.size) &&
	       !memmem(path.data, path.size, "//", 2);
}

static int device_read(struct span text, struct grant *grant)
{
	struct span rest = text, access;

	grant->access = RUNTIME_DEVICE_READ | RUNTIME_DEVICE_WRITE |
			RUNTIME_DEVICE_MKNOD;
	if (!span_cut(&rest, ':', &grant->path) || !path_valid(grant->path))
		return -EINVAL;
	grant->target = grant->path;
	if (grant->path.size == text.size)
		return 0;
	if (!span_cut(&rest, ':', &access))
		return -EINVAL; /* "PATH:" */
	if (rest.data) {
		grant->target = rest;
		if (!path_valid(rest))
			return -EINVAL;
	}
	return access_read(access, &grant->access);
}

int grant_parse(struct span text, struct grant *grant)
{
	struct span kind;

	*grant = (struct grant){ 0 };
	if (!span_cut(&text, ':', &kind))
		return -EINVAL;
	if (span_is(kind, "capability")) {
		grant->kind = GRANT_CAPABILITY;
		return capability_read(text, grant);
	}
	grant->kind = GRANT_DEVICE;
	return span_is(kind, "device") ? device_read(text, grant) : -EINVAL;
}

bool grant_covers(const struct grant *given, const struct grant *wanted)
{
	if (given->kind != wanted->kind)
		return false;
	if (given->kind == GRANT_CAPABILITY)
		return given->capability == wanted->capability;
	return given->path.size == wanted->path.size &&
	       !memcmp(given->path.data, wanted->path.data, given->path.size) &&
	       !(wanted->access & ~given->access);
}
