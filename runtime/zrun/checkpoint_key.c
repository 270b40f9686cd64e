#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/span.h"
#include "checkpoint.h"
#include "oci/digest/digest.h"

#define KEY	 "key"
#define CPU_INFO "/proc/cpuinfo"

enum { CPU_INFO_MAX = 1 << 20, KEY_SIZE_MAX = 4096 };

/* What a process may have found out of the processor, and act on. */
static const char *const cpu_fields[] = {
	"vendor_id",	    "cpu family",  "model",    "model name",
	"stepping",	    "flags",	   "Features", "CPU implementer",
	"CPU architecture", "CPU variant", "CPU part", "CPU revision",
};

static bool is_cpu_field(struct span line)
{
	struct span name;

	if (!span_cut(&line, ':', &name))
		return false;
	while (name.size && strchr(" \t", name.data[name.size - 1]))
		name.size--;
	for (size_t i = 0; i < sizeof(cpu_fields) / sizeof(cpu_fields[0]); i++)
		if (span_is(name, cpu_fields[i]))
			return true;
	return false;
}

/* Of the first processor: the fields end at an empty line. */
static int add_cpu(struct digest_stream *stream)
{
	autofree char *text = NULL;
	struct span line;
	size_t size;
	int r = file_read(AT_FDCWD, CPU_INFO, CPU_INFO_MAX, &text, &size);

	for (struct span rest = { text, size };
	     r == 0 && span_cut(&rest, '\n', &line) && line.size;)
		if (is_cpu_field(line))
			digest_update(stream, line.data, line.size);
	return r;
}

/* What another version would confine in another way is not to go on as it was.
 */
static int add_program(struct digest_stream *stream)
{
	autoclose int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct digest own;
	uint64_t size;
	int r = fd < 0 ? -errno : digest_of_fd(fd, &own, &size);

	if (r == 0)
		digest_update(stream, &own, sizeof(own));
	return r;
}

/* It stays what it is for as long as this process does. */
static const struct digest *machine(void)
{
	static struct digest digest;
	static bool is_known;
	struct digest_stream stream;
	struct utsname name;

	if (is_known)
		return &digest;
	if (uname(&name) < 0)
		return NULL;
	digest_begin(&stream);
	digest_update(&stream, name.release, strlen(name.release) + 1);
	digest_update(&stream, name.version, strlen(name.version) + 1);
	digest_update(&stream, name.machine, strlen(name.machine) + 1);
	is_known = add_program(&stream) == 0 && add_cpu(&stream) == 0;
	digest = digest_end(&stream);
	return is_known ? &digest : NULL;
}

/* Instances of one application differ in their address alone. */
static int config_read(int fd, struct digest *digest)
{
	autofree char *text = NULL;
	size_t size;
	int r = memfd_read(fd, ZRUN_CONFIG_MAX, &text, &size);

	if (r < 0)
		return r;
	yyjson_doc *doc = yyjson_read(text, size, 0);
	yyjson_mut_doc *copy = doc ? yyjson_doc_mut_copy(doc, NULL) : NULL;
	yyjson_mut_val *top = yyjson_mut_doc_get_root(copy);

	yyjson_mut_obj_remove_key(yyjson_mut_obj_get(top, "annotations"),
				  ZRUN_ANNOTATION_ADDRESS);
	autofree char *rest = copy ? yyjson_mut_write(copy, 0, &size) : NULL;

	yyjson_doc_free(doc);
	yyjson_mut_doc_free(copy);
	if (!rest)
		return -EBADMSG;
	*digest = digest_of(rest, size);
	return 0;
}

char *checkpoint_key(const char *digest, int config)
{
	char of_config[DIGEST_HEX_SIZE], of_machine[DIGEST_HEX_SIZE];
	struct digest one;
	char *text;

	if (config_read(config, &one) < 0)
		return NULL;
	digest_hex(&one, of_config);
	if (!machine())
		return NULL;
	digest_hex(machine(), of_machine);
	return asprintf(&text, "image %s\nconfig %s\nmachine %s\n", digest,
			of_config, of_machine) < 0
		       ? NULL
		       : text;
}

int checkpoint_key_check(int dir, const char *key, struct fault *fault)
{
	static const char *const what[] = { "its image", "its config",
					    "the system or the processor" };
	autofree char *text = NULL;
	struct span want = span_of(key), is, a, b;
	size_t size;
	int r = file_read(dir, KEY, KEY_SIZE_MAX, &text, &size);

	if (r < 0)
		return fault_set(fault, r, KEY);
	is = (struct span){ text, size };
	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		if (span_cut(&want, '\n', &a) && span_cut(&is, '\n', &b) &&
		    a.size == b.size && memcmp(a.data, b.data, a.size) == 0)
			continue;
		fault_set(fault, 0, "%s is another one", what[i]);
		return -ESTALE;
	}
	return 0;
}

int checkpoint_key_write(int dir, const char *key)
{
	return file_replace(dir, KEY, 0600, key, strlen(key));
}
