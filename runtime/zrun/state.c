#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"
#include "cgroup.h"
#include "kernel.h"

#define STATE_SIZE_MAX (64 << 10)
#define STAGED	       ".state.json.new"

enum { NOTE_TEXT_SIZE = 192 / 3 * 4 + 1 };

static const char *const status_names[] = {
	[STATUS_CREATING] = "creating", [STATUS_CREATED] = "created",
	[STATUS_RUNNING] = "running",	[STATUS_PAUSED] = "paused",
	[STATUS_STOPPED] = "stopped",
};

_Static_assert(sizeof(status_names) / sizeof(status_names[0]) == STATUS_COUNT,
	       "a name for each");

const char *status_name(enum status status)
{
	return status_names[status];
}

bool state_id_valid(const char *id)
{
	size_t n = strlen(id);

	if (n == 0 || n >= STATE_ID_SIZE || strcmp(id, ".") == 0 ||
	    strcmp(id, "..") == 0)
		return false;
	return id[strspn(id, "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")] ==
	       '\0';
}

int state_root(const char *path, bool make, struct fault *fault)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd = openat(AT_FDCWD, path, flags);

	if (fd < 0 && errno == ENOENT && make) {
		int r = path_mkdirs(AT_FDCWD, path, 0700);

		fd = r < 0 ? r : openat(AT_FDCWD, path, flags);
	}
	if (fd == -1)
		fd = -errno;
	return fd < 0 ? fault_set(fault, fd, "--root %s", path) : fd;
}

int state_make(int root, const char *id, struct fault *fault)
{
	if (!state_id_valid(id))
		return fault_set(fault, 0,
				 "invalid id (want letters, digits, "
				 "_, +, - and .)");
	if (mkdirat(root, id, 0700) < 0) {
		if (errno == EEXIST) {
			fault_set(fault, 0,
				  "container with that id already "
				  "exists");
			return -EEXIST;
		}
		return fault_set(fault, -errno, "make its state directory");
	}
	return state_open(root, id, fault);
}

int state_open(int root, const char *id, struct fault *fault)
{
	int fd = state_id_valid(id) ? openat(root, id,
					     O_RDONLY | O_DIRECTORY |
						     O_NOFOLLOW | O_CLOEXEC)
				    : -1;

	if (fd >= 0)
		return fd;
	fault_set(fault, 0, "container does not exist");
	return -ENOENT;
}

/* The usual contents by name; what else there may be takes a search. */
int state_remove(int root, const char *id)
{
	/* start took its socket away. */
	static const char *const files[] = { "state.json", "config.json" };
	char path[STATE_ID_SIZE + 16];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", id, files[i]);
		unlinkat(root, path, 0);
	}
	if (unlinkat(root, id, AT_REMOVEDIR) == 0)
		return 0;
	return path_remove_tree(root, id);
}

static void put_text(yyjson_mut_doc *doc, const char *key, const char *value)
{
	yyjson_mut_obj_add_str(doc, yyjson_mut_doc_get_root(doc), key, value);
}

static void put_number(yyjson_mut_doc *doc, const char *key, uint64_t value)
{
	yyjson_mut_obj_add_uint(doc, yyjson_mut_doc_get_root(doc), key, value);
}

void state_empty(struct state *state, const char *id)
{
	memset(state, 0, sizeof(*state));
	text_copy(state->id, sizeof(state->id), id);
}

/* Valid until the next call. */
static const char *state_text(const struct state *state, size_t *size)
{
	static char memory[STATE_SIZE_MAX];
	char note[NOTE_TEXT_SIZE];
	yyjson_alc pool;

	yyjson_alc_pool_init(&pool, memory, sizeof(memory));
	yyjson_mut_doc *doc = yyjson_mut_doc_new(&pool);

	if (!doc)
		return NULL;
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	put_text(doc, "id", state->id);
	put_number(doc, "pid", (uint64_t)state->pid);
	put_number(doc, "startTime", state->start_time);
	put_number(doc, "created", state->created);
	put_text(doc, "bundle", state->bundle);
	put_text(doc, "rootfs", state->rootfs);
	put_text(doc, "cgroup", state->cgroup);
	put_number(doc, "address", state->address);
	put_text(doc, "digest", state->digest);
	put_text(doc, "application", state->application);
	if (state->capabilities)
		put_number(doc, "capabilities", state->capabilities);
	if (state->sleep)
		put_number(doc, "sleep", (uint64_t)state->sleep);
	if (state->sleep == SLEEP_ASLEEP) {
		base64url_encode(state->note, sizeof(state->note), note);
		put_text(doc, "note", note);
	}
	return yyjson_mut_write_opts(doc, 0, &pool, size, NULL);
}

int state_write(int dir, const struct state *state)
{
	size_t size = 0;
	const char *text = state_text(state, &size);

	return text ? file_swap(dir, "state.json", text, size) : -ENOMEM;
}

static int create(int dir, const char *name)
{
	int fd = openat(dir, name,
			O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			0600);

	return fd < 0 ? -errno : fd;
}

int state_create(int dir)
{
	return create(dir, "state.json");
}

int state_put(int file, const struct state *state)
{
	size_t size = 0;
	const char *text = state_text(state, &size);

	return text ? fd_write(file, text, size) : -ENOMEM;
}

int state_stage(int dir, const struct state *state)
{
	autoclose int fd = create(dir, STAGED);

	return fd < 0 ? fd : state_put(fd, state);
}

int state_commit(int dir)
{
	return kernel_result(renameat(dir, STAGED, dir, "state.json"));
}

static int get_text(yyjson_val *top, const char *key, char *out, size_t size)
{
	yyjson_val *val = yyjson_obj_get(top, key);
	const char *text = yyjson_get_str(val);

	if (!text)
		return -EBADMSG;
	return span_copy(out, size, (struct span){ text, yyjson_get_len(val) });
}

static uint64_t get_number(yyjson_val *top, const char *key)
{
	return yyjson_get_uint(yyjson_obj_get(top, key));
}

static int state_parse(char *text, size_t size, struct state *state)
{
	yyjson_doc *doc = yyjson_read(text, size, 0);
	yyjson_val *top = yyjson_doc_get_root(doc);
	char note[NOTE_TEXT_SIZE];
	uint64_t pid = get_number(top, "pid");
	int r = get_text(top, "id", state->id, sizeof(state->id));

	if (r == 0)
		r = get_text(top, "bundle", state->bundle,
			     sizeof(state->bundle));
	if (r == 0)
		r = get_text(top, "rootfs", state->rootfs,
			     sizeof(state->rootfs));
	if (r == 0)
		r = get_text(top, "cgroup", state->cgroup,
			     sizeof(state->cgroup));
	if (r == 0)
		r = get_text(top, "digest", state->digest,
			     sizeof(state->digest));
	/* Earlier versions wrote none. */
	get_text(top, "application", state->application,
		 sizeof(state->application));
	if (r == 0 && pid > INT32_MAX)
		r = -EBADMSG;
	state->pid = (pid_t)pid;
	state->start_time = get_number(top, "startTime");
	state->created = get_number(top, "created");
	state->address = (uint32_t)get_number(top, "address");
	state->capabilities = get_number(top, "capabilities");
	state->sleep = (enum state_sleep)get_number(top, "sleep");
	/* One that is not whole says nothing. */
	if (get_text(top, "note", note, sizeof(note)) < 0 ||
	    base64_decode(span_of(note), state->note, sizeof(state->note)) !=
		    sizeof(state->note))
		memset(state->note, 0, sizeof(state->note));
	yyjson_doc_free(doc);
	return r;
}

int state_read(int dir, struct state *state, struct fault *fault)
{
	autofree char *text = NULL;
	size_t size;

	memset(state, 0, sizeof(*state));
	int r = file_read(dir, "state.json", STATE_SIZE_MAX, &text, &size);

	if (r == 0 && size == 0)
		r = -ENOENT; /* what a power cut leaves */
	if (r == 0)
		r = state_parse(text, size, state);
	return r < 0 ? fault_set(fault, r, "state.json") : 0;
}

uint64_t process_start_time(pid_t pid)
{
	char path[32], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	autoclose int fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* The name, field 2, may hold anything: count from its last ")". */
	char *p = strrchr(text, ')');

	if (!p || !p[1] || p[2] == 'Z' || p[2] == 'X')
		return 0;
	for (int field = 2; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

int state_pidfd(const struct state *state)
{
	int fd = state->pid > 0 ? kernel_pidfd_open(state->pid) : -ESRCH;

	if (fd >= 0 && process_start_time(state->pid) != state->start_time) {
		close(fd); /* the number is another process's by now */
		return -ESRCH;
	}
	return fd;
}

static bool is_frozen(const struct state *state)
{
	struct cgroup cg = CGROUP_NONE;
	struct fault ignored = { "" };
	bool frozen = state->cgroup[0] && cgroup_find(&cg, &ignored) == 0 &&
		      cgroup_open(&cg, state->cgroup) == 0 &&
		      cgroup_is_frozen(&cg);

	cgroup_close(&cg);
	return frozen;
}

/* The listener goes away with execve, so whether it answers tells created from
 * running, with nothing to be written at the right moment. */
enum status state_status(int dir, const struct state *state)
{
	if (state->pid <= 0)
		return STATUS_CREATING;
	if (process_start_time(state->pid) != state->start_time)
		return STATUS_STOPPED;
	if (is_frozen(state))
		return STATUS_PAUSED;
	autoclose int peer = dir < 0 ? -ENOENT : start_connect(dir);

	return peer >= 0 ? STATUS_CREATED : STATUS_RUNNING;
}

/* The path may be longer than a socket address: go through the descriptor. */
static socklen_t start_address(int dir, struct sockaddr_un *address)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	snprintf(address->sun_path, sizeof(address->sun_path),
		 "/proc/self/fd/%d/" STATE_START_SOCKET, dir);
	return sizeof(*address);
}

int start_listen(int dir)
{
	struct sockaddr_un address;
	socklen_t size = start_address(dir, &address);

	autoclose int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0 || bind(sock, (struct sockaddr *)&address, size) < 0 ||
	    listen(sock, 8) < 0)
		return -errno;
	return fd_take(&sock);
}

/* Once it was started there is none: the common case is told by one look. */
int start_connect(int dir)
{
	if (faccessat(dir, STATE_START_SOCKET, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	struct sockaddr_un address;
	socklen_t size = start_address(dir, &address);

	autoclose int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0 || connect(sock, (struct sockaddr *)&address, size) < 0)
		return -errno;
	return fd_take(&sock);
}
