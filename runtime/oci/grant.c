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

static int letters_read(struct span text, uint8_t *access)
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

static int word_read(struct span text, uint8_t *access)
{
	*access = RUNTIME_DEVICE_READ;
	if (span_is(text, "rw"))
		*access |= RUNTIME_DEVICE_WRITE;
	else if (!span_is(text, "ro"))
		return -EINVAL;
	return 0;
}

/* One spelling of each, and none that ends before the text does, or its line.
 */
static bool path_valid(struct span path, bool is_device)
{
	for (size_t i = 0; i < path.size; i++)
		if ((unsigned char)path.data[i] < ' ')
			return false;
	if (is_device && (path.size < sizeof("/dev/x") - 1 ||
			  memcmp(path.data, "/dev/", 5) != 0))
		return false;
	return desired_path_valid(path) && !memchr(path.data, ':', path.size) &&
	       !memmem(path.data, path.size, "//", 2) &&
	       path.data[path.size - 1] != '/';
}

/* PATH[:ACCESS[:TARGET]]; the access is all there is unless said. */
static int place_read(struct span text, struct grant *grant)
{
	bool is_device = grant->kind == GRANT_DEVICE;
	struct span rest = text, access;

	grant->access = RUNTIME_DEVICE_READ | RUNTIME_DEVICE_WRITE |
			(is_device ? RUNTIME_DEVICE_MKNOD : 0);
	if (!span_cut(&rest, ':', &grant->path))
		return -EINVAL;
	/* All of the node's: elsewhere, not as the container's own root. */
	bool is_root = !is_device && span_is(grant->path, "/");

	if (!is_root && !path_valid(grant->path, is_device))
		return -EINVAL;
	grant->target = grant->path;
	if (grant->path.size == text.size)
		return is_root ? -EINVAL : 0;
	if (!span_cut(&rest, ':', &access))
		return -EINVAL; /* "PATH:" */
	if (rest.data) {
		grant->target = rest;
		if (!path_valid(rest, is_device))
			return -EINVAL;
	}
	return is_device ? letters_read(access, &grant->access)
			 : word_read(access, &grant->access);
}

int grant_parse(struct span text, struct grant *grant)
{
	static const struct {
		const char *text;
		enum grant_kind kind;
	} words[] = { { "privileged", GRANT_PRIVILEGED },
		      { "network:host", GRANT_NETWORK },
		      { "pid:host", GRANT_PID },
		      { "ipc:host", GRANT_IPC } };
	struct span kind;

	*grant = (struct grant){ 0 };
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		grant->kind = words[i].kind;
		if (span_is(text, words[i].text))
			return 0;
	}
	if (!span_cut(&text, ':', &kind))
		return -EINVAL;
	if (span_is(kind, "capability")) {
		grant->kind = GRANT_CAPABILITY;
		return capability_read(text, grant);
	}
	grant->kind = span_is(kind, "device") ? GRANT_DEVICE : GRANT_BIND;
	if (grant->kind == GRANT_BIND && !span_is(kind, "bind"))
		return -EINVAL;
	return place_read(text, grant);
}

bool grant_covers(const struct grant *given, const struct grant *wanted)
{
	if (given->kind == GRANT_PRIVILEGED &&
	    (wanted->kind == GRANT_DEVICE || wanted->kind == GRANT_CAPABILITY))
		return true;
	if (given->kind != wanted->kind)
		return false;
	if (given->kind == GRANT_CAPABILITY)
		return given->capability == wanted->capability;
	if (given->kind != GRANT_DEVICE && given->kind != GRANT_BIND)
		return true;
	return given->path.size == wanted->path.size &&
	       !memcmp(given->path.data, wanted->path.data, given->path.size) &&
	       !(wanted->access & ~given->access);
}
