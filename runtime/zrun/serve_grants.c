/* Grants: what a container may have beyond the default.
 *
 * Theory of operation. An operator grants, the hub signs, znode keeps the
 * document; serve believes only the signature. ZRUN_GRANTS lets zgrant check
 * the document as it lies on the disk, in a worker. What it says is kept where
 * nobody but root can write, file .grants beside the states, for every start to
 * look at. /run does not outlive the machine's run: after a boot serve looks at
 * the document by itself, and while there is no such file nothing is granted.
 *
 * File /data/grants/seen holds the node, the pin and the newest epoch and
 * revision that were ever seen here: a captured znode may keep a document from
 * serve, which delays what it says, but it cannot bring back one whose grants
 * were taken away since, nor one of another node. Another pin, which a person
 * has put into node.json, begins anew.
 *
 * A grant is bound to the app's image. The document may name an index, and
 * znode the manifest in it: then the index proves it by its own digest. What
 * runs in that image, by its command or by ZRUN_EXEC, is for znode to choose.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "cli.h"
#include "grants.h"
#include "oci/desired.h"
#include "oci/device_name.h"
#include "oci/digest/digest.h"
#include "resident.h"

#define PROGRAM "zgrant"
#define TABLE	".grants"
#define SEEN	"seen"

enum {
	TABLE_MAX = 2 << 20, /* more than the largest document says */
	SEEN_MAX = 512,
	INDEX_MAX = 4 << 20,
};

/* ---- what zgrant says ---- */

bool grants_line(struct span *rest, const char *word, struct span *line)
{
	struct span copy = *rest, token;

	if (!span_cut(&copy, '\n', line))
		return false;
	struct span words = *line;

	if (!span_cut(&words, ' ', &token) || !span_is(token, word))
		return false;
	*line = words;
	*rest = copy;
	return true;
}

static int zgrant_start(int *said)
{
	int pair[2];
	char path[4096];

	cli_beside(PROGRAM, path);
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(pair[1], 1);
		execlp(path, PROGRAM, NULL);
		dprintf(1, "exec %.200s: %s\n", path, strerror(errno));
		_exit(1);
	}
	close(pair[1]);
	if (pid < 0)
		close(pair[0]);
	*said = pair[0];
	return pid < 0 ? -errno : pid;
}

static int fault_of(const char *text, size_t size, struct fault *fault)
{
	struct span rest = { text, size }, line;

	do {
		if (grants_line(&rest, "error", &line) ||
		    grants_line(&rest, "exec", &line))
			return fault_set(fault, 0, "%.*s", (int)line.size,
					 line.data);
	} while (span_cut(&rest, '\n', &line));
	return fault_set(fault, -EIO, PROGRAM " was killed");
}

/* What it printed, to be freed; its own error is ours. */
static int zgrant_read(char **text, size_t *size, struct fault *fault)
{
	autoclose int said = -1;
	int status = 0, pid = zgrant_start(&said);

	if (pid < 0)
		return fault_set(fault, pid, PROGRAM);
	*text = malloc(TABLE_MAX);
	ssize_t n = *text ? fd_read(said, *text, TABLE_MAX - 1) : -ENOMEM;

	waitpid(pid, &status, 0);
	if (n < 0)
		return fault_set(fault, (int)n, PROGRAM);
	(*text)[n] = '\0';
	*size = (size_t)n;
	if (status == 0)
		return 0;
	return fault_of(*text, *size, fault);
}

struct origin {
	char node[64], pin[DIGEST_HEX_SIZE];
	uint64_t epoch, revision;
};

/* "NODE EPOCH REVISION PIN" */
static int origin_parse(struct span line, struct origin *origin)
{
	struct span node, epoch, revision;

	if (!span_cut(&line, ' ', &node) || !span_cut(&line, ' ', &epoch) ||
	    !span_cut(&line, ' ', &revision) ||
	    span_copy(origin->node, sizeof(origin->node), node) < 0 ||
	    span_u64(epoch, UINT64_MAX, &origin->epoch) < 0 ||
	    span_u64(revision, UINT64_MAX, &origin->revision) < 0 ||
	    span_copy(origin->pin, sizeof(origin->pin), line) < 0)
		return -EBADMSG;
	return 0;
}

static int seen_read(struct origin *seen)
{
	autofree char *text = NULL;
	size_t size;
	struct span line;
	int r = file_read(resident.grants, SEEN, SEEN_MAX, &text, &size);

	if (r < 0)
		return r;
	struct span rest = { text, size };

	return span_cut(&rest, '\n', &line) ? origin_parse(line, seen)
					    : -EBADMSG;
}

static int seen_write(const struct origin *o)
{
	char text[SEEN_MAX];
	int n = snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64 " %s\n",
			 o->node, o->epoch, o->revision, o->pin);

	return file_replace(resident.grants, SEEN, 0600, text, (size_t)n);
}

static bool is_newer(const struct origin *a, const struct origin *b)
{
	return desired_is_newer(a->epoch, a->revision, b->epoch, b->revision);
}

/* That the document is this node's and not one of before, remembered. */
static int origin_judge(const struct origin *o, struct fault *fault)
{
	struct origin seen;
	int r = seen_read(&seen);

	/* A file that is damaged must not let an old document in. */
	if (r < 0 && r != -ENOENT)
		return fault_set(fault, r, "%.200s/grants/" SEEN, path_data());
	if (r == 0 && strcmp(seen.pin, o->pin) == 0) {
		if (strcmp(seen.node, o->node) != 0) {
			fault_set(fault, 0, "document: for node %s, this is %s",
				  o->node, seen.node);
			return -EKEYREJECTED;
		}
		if (is_newer(&seen, o)) {
			fault_set(fault, 0,
				  "document: %" PRIu64 ".%" PRIu64
				  " is older than %" PRIu64 ".%" PRIu64,
				  o->epoch, o->revision, seen.epoch,
				  seen.revision);
			return -ESTALE;
		}
		if (!is_newer(o, &seen))
			return 0;
	}
	r = seen_write(o);
	return r < 0 ? fault_set(fault, r, "%.200s/grants/" SEEN, path_data())
		     : 0;
}

/* Of what zgrant said, what is node.json's; nothing where it did not come so
 * far. */
static struct span node_part(const char *text, size_t size)
{
	struct span rest = { text, size }, line;

	if (!grants_line(&rest, "hub", &line))
		(void)grants_line(&rest, "free", &line);
	while (grants_line(&rest, "local", &line))
		;
	return (struct span){ text, (size_t)(rest.data - text) };
}

static bool is_known(void)
{
	return faccessat(resident.state, TABLE, F_OK, 0) == 0;
}

/* What cannot be believed grants nothing, and nobody of it has a network: but
 * an old document leaves what a newer one has said. */
static int document_refuse(struct span node, int error)
{
	int r = error == -ESTALE && is_known()
			? 0
			: file_swap(resident.state, TABLE, node.data,
				    node.size);

	if (r < 0)
		log_error(TABLE, "%s", strerror(-r));
	return error;
}

static int grants_learn(struct fault *fault)
{
	autofree char *text = NULL;
	size_t size = 0;
	struct origin origin;
	struct span line;
	int r = zgrant_read(&text, &size, fault);

	struct span node = node_part(text, size);

	if (!text || node.size == 0)
		return r < 0 ? r : fault_set(fault, -EBADMSG, PROGRAM);
	struct span rest = { text + node.size, size - node.size };

	if (r == 0 && (!grants_line(&rest, "node", &line) ||
		       origin_parse(line, &origin) < 0)) {
		fault_set(fault, -EBADMSG, PROGRAM);
		r = -EBADMSG;
	}
	if (r == 0)
		r = origin_judge(&origin, fault);
	if (r < 0)
		return document_refuse(node, r);
	/* The line of its origin goes: the rest is behind node.json's part. */
	memmove(text + node.size, rest.data, rest.size);
	r = file_swap(resident.state, TABLE, text, node.size + rest.size);
	return r < 0 ? fault_set(fault, r, TABLE) : 0;
}

static int grants_work(const struct zrun_request *q,
		       char text[STORE_ERROR_SIZE])
{
	struct fault fault = { "" };
	int r = grants_learn(&fault);

	(void)q;
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "grants: %.200s", fault.text);
	return r;
}

void grants_boot(void)
{
	struct fault fault = { "" };

	/* What is wrong with it is said to who asks for it. */
	if (!is_known())
		(void)grants_learn(&fault);
}

int serve_grants(const struct asked *asked, struct zrun_reply *reply)
{
	return serve_work(asked, reply, grants_work);
}

/* ---- what a start may have ---- */

/* Several apps may be one service, by the name of which another may go. */
const char *grants_app(const struct runtime_config *config)
{
	const char *app = text_map_find(&config->annotations,
					ZRUN_ANNOTATION_APP);

	if (!app)
		app = text_map_find(&config->annotations,
				    ZRUN_ANNOTATION_SERVICE);
	return app ? app : "";
}

/* Whether the index with that digest, which znode keeps, has `image` in it. */
static bool index_has(struct span index, const char *image)
{
	char path[4096];
	struct digest wanted, digest;
	autofree char *text = NULL;
	size_t size;

	if (digest_parse(index, &wanted) < 0)
		return false;
	digest_hex(&wanted, path + snprintf(path, sizeof(path) - 80,
					    "%s/desired/index-", path_data()));
	if (file_read(AT_FDCWD, path, INDEX_MAX, &text, &size) < 0)
		return false;
	digest = digest_of(text, size);
	return digest_equal(&digest, &wanted) &&
	       memmem(text, size, image, strlen(image));
}

/* The lines behind the app's own, if it is of that image. */
static bool app_find(struct span *rest, const char *app, const char *image)
{
	struct span line, name;

	while (rest->size > 0) {
		if (!grants_line(rest, "app", &line)) {
			if (!span_cut(rest, '\n', &line))
				return false;
			continue;
		}
		if (span_cut(&line, ' ', &name) && span_is(name, app))
			return span_is(line, image) || index_has(line, image);
	}
	return false;
}

static void give(struct grants *grants, const struct grant *g)
{
	struct policy_grants *p = &grants->policy;

	switch (g->kind) {
	case GRANT_CAPABILITY:
		p->capabilities |= UINT64_C(1) << g->capability;
		break;
	case GRANT_DEVICE:
	case GRANT_BIND:
		grants->place[p->n_place++] = *g;
		break;
	case GRANT_NETWORK:
		p->capabilities |= POLICY_HOST(RUNTIME_NS_NETWORK);
		break;
	case GRANT_PID:
		p->capabilities |= POLICY_HOST(RUNTIME_NS_PID);
		break;
	case GRANT_IPC:
		p->capabilities |= POLICY_HOST(RUNTIME_NS_IPC);
		break;
	case GRANT_PRIVILEGED:
		p->capabilities |= POLICY_CAPABILITIES | POLICY_PRIVILEGED;
		break;
	}
}

void grants_find(const struct runtime_config *config, const char *image,
		 struct grants *grants)
{
	size_t size, n = 1;
	struct span line;

	*grants = (struct grants){ .is_bound = true };
	if (file_read(resident.state, TABLE, TABLE_MAX, &grants->text, &size) <
	    0)
		return;
	struct span rest = { grants->text, size };

	grants->is_bound = !grants_line(&rest, "free", &line);
	(void)grants_line(&rest, "hub", &line);
	grants->local = rest;
	if (!app_find(&rest, grants_app(config), image))
		return;
	for (const char *p = grants->text; (p = strchr(p, '\n')); p++)
		n++;
	grants->place = calloc(n, sizeof(*grants->place));
	for (struct grant g;
	     grants->place && grants_line(&rest, "grant", &line);)
		if (grant_parse(line, &g) == 0)
			give(grants, &g);
	grants->policy.place = grants->place;
	grants->is_listed = true;
	grants->network = rest;
}

void grants_free(struct grants *grants)
{
	free(grants->text);
	free(grants->place);
}

/* ---- devices ---- */

static struct runtime_device device_of(const char *path, const struct stat *st)
{
	return (struct runtime_device){
		.path = path,
		.type = S_ISCHR(st->st_mode) ? 'c' : 'b',
		.major = major(st->st_rdev),
		.minor = minor(st->st_rdev),
		.mode = st->st_mode & 0777,
		.uid = st->st_uid,
		.gid = st->st_gid,
	};
}

struct runtime_device_rule device_rule(const struct stat *st, uint8_t access)
{
	return (struct runtime_device_rule){
		.allow = true,
		.type = S_ISCHR(st->st_mode) ? 'c' : 'b',
		.major = { true, major(st->st_rdev) },
		.minor = { true, minor(st->st_rdev) },
		.access = access,
	};
}

static int device_look(const struct runtime_mount *m,
		       struct runtime_device *device,
		       struct runtime_device_rule *rule)
{
	struct stat st;
	int r = device_stat(m->source, 0, &st);

	/* -ENOENT would mean the image. */
	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	*device = device_of(m->destination, &st);
	*rule = device_rule(&st, policy_device_access(m));
	return 0;
}

static char *line_put(char *to, const struct runtime_mount *m)
{
	uint8_t access = policy_device_access(m);

	return to + sprintf(to, "device:%s:%s%s%s:%s\n", m->source,
			    access & RUNTIME_DEVICE_READ ? "r" : "",
			    access & RUNTIME_DEVICE_WRITE ? "w" : "",
			    access & RUNTIME_DEVICE_MKNOD ? "m" : "",
			    m->destination);
}

static bool is_device(const struct runtime_mount *m)
{
	return !m->bind && m->type && strcmp(m->type, "device") == 0;
}

static int granted_devices(struct runtime_config *config, const char **lines,
			   struct fault *fault)
{
	struct runtime_resources *resources = &config->resources;
	size_t n = 0, kept = 0, before = resources->n_device, size = 1;

	*lines = NULL;
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (!is_device(m))
			continue;
		n++;
		size += sizeof("device::rwm:\n") + strlen(m->source) +
			strlen(m->destination);
	}
	if (n == 0)
		return 0;
	char *line = arena_take(&config->arena, size);
	struct runtime_device *device = arena_take(&config->arena,
						   n * sizeof(*device));
	struct runtime_device_rule *rule =
		arena_take(&config->arena, (before + n) * sizeof(*rule));

	if (!device || !rule || !line)
		return fault_set(fault, -ENOMEM, "devices");
	*lines = line;
	if (before)
		memcpy(rule, resources->device, before * sizeof(*rule));
	n = 0;
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (!is_device(m)) {
			config->mount[kept++] = *m;
			continue;
		}
		int r = device_look(m, &device[n], &rule[before + n]);

		if (r < 0)
			return fault_set(fault, r, "device %.100s", m->source);
		line = line_put(line, m);
		n++;
	}
	config->n_mount = kept;
	config->device = device;
	config->n_device = n;
	resources->device = rule;
	resources->n_device = before + n;
	return 0;
}

/* Those of the node, for who is privileged. */
static struct {
	struct arena *arena;
	struct runtime_device *item; /* NULL: they are counted */
	size_t n, room;
} all;

static int all_add(const char *path, const struct stat *st)
{
	if (all.item && all.n < all.room) {
		size_t size = strlen(path) + 1;
		char *copy = arena_take(all.arena, size);

		if (!copy)
			return -ENOMEM;
		memcpy(copy, path, size);
		all.item[all.n] = device_of(copy, st);
	}
	all.n++;
	return 0;
}

/* A terminal of its own, and the console, every container has another way; and
 * what is mounted below has its own. */
static int all_walk(const char *directory, dev_t device)
{
	DIR *list = path_list(AT_FDCWD, directory);
	int r = 0;

	for (struct dirent *e; r == 0 && list && (e = readdir(list));) {
		char path[512];
		struct stat st;

		if (e->d_name[0] == '.' ||
		    fstatat(dirfd(list), e->d_name, &st, AT_SYMLINK_NOFOLLOW) <
			    0 ||
		    st.st_dev != device)
			continue;
		snprintf(path, sizeof(path), "%.200s/%s", directory, e->d_name);
		if (S_ISDIR(st.st_mode))
			r = all_walk(path, device);
		else if (device_is_node(&st) &&
			 major(st.st_rdev) != TTYAUX_MAJOR)
			r = all_add(path, &st);
	}
	if (list)
		closedir(list);
	return r;
}

/* Behind those that the config has by now. What comes later has no name in the
 * container, but may be used there. */
static int all_devices(struct runtime_config *config)
{
	static const struct runtime_device_rule any = {
		.allow = true,
		.type = 'a',
		.access = RUNTIME_DEVICE_READ | RUNTIME_DEVICE_WRITE |
			  RUNTIME_DEVICE_MKNOD,
	};
	size_t before = config->n_device;
	struct stat dev;
	int r = stat("/dev", &dev) < 0 ? -errno : 0;

	all.n = before;
	if (r == 0)
		r = all_walk("/dev", dev.st_dev);
	if (r < 0)
		return r;
	all.arena = &config->arena;
	all.room = all.n;
	all.n = before;
	all.item = arena_take(&config->arena, all.room * sizeof(*all.item));
	if (!all.item)
		return -ENOMEM;
	if (before)
		memcpy(all.item, config->device, before * sizeof(*all.item));
	r = all_walk("/dev", dev.st_dev);
	config->device = all.item;
	config->n_device = all.n < all.room ? all.n : all.room;
	all.item = NULL;
	config->resources.device = (struct runtime_device_rule *)&any;
	config->resources.n_device = 1;
	return r;
}

int grants_devices(struct runtime_config *config, bool is_privileged,
		   const char **lines, struct fault *fault)
{
	int r = granted_devices(config, lines, fault);

	if (r < 0 || !is_privileged)
		return r;
	r = all_devices(config);
	return r < 0 ? fault_set(fault, r, "devices") : 0;
}
