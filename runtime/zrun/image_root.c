#define _GNU_SOURCE
#include "image_root.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "child.h"
#include "kernel.h"
#include "resident.h"

enum { KEPT_MAX = 4, PATH_SIZE = 1024 };

static struct kept {
	char digest[ZRUN_DIGEST_SIZE]; /* "": free */
	struct store_layers layers;
	int mount; /* shared one, attached at `at`; -1: not made yet */
	uint64_t used;
} kept[KEPT_MAX];
static uint64_t uses;

/* At the bottom of a read-only root: what an image of a single program lacks,
 * to mount on. */
static char skeleton[PATH_SIZE];
static char at[PATH_SIZE];

int image_root_init(void)
{
	static const char *const parts[] = { "proc", "sys", "dev" };
	char path[PATH_SIZE + 8];
	int r = 0;

	for (int i = 0; i < KEPT_MAX; i++)
		kept[i].mount = -1;
	snprintf(skeleton, sizeof(skeleton), "%s/zrun-root/empty", path_run());
	snprintf(at, sizeof(at), "%s/zrun-root/at", path_run());
	for (size_t i = 0; r == 0 && i < sizeof(parts) / sizeof(parts[0]);
	     i++) {
		snprintf(path, sizeof(path), "%s/%s", skeleton, parts[i]);
		r = path_mkdirs(AT_FDCWD, path, 0755);
	}
	if (r == 0)
		r = path_mkdirs(AT_FDCWD, at, 0700);
	/* What others mount still appears here, nothing of ours there. */
	if (r == 0 && unshare(CLONE_NEWNS) < 0)
		r = -errno;
	if (r == 0)
		r = kernel_mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL);
	if (r < 0)
		log_error(at, "cannot mount here: %s", strerror(-r));
	return r;
}

/* Of the layers, with the writable one of container id or, without an id, read
 * only. Valid until the next call. */
static const struct overlay *overlay_of(const struct store_layers *layers,
					const char *id)
{
	static char path[STORE_LAYERS_MAX][PATH_SIZE];
	static const char *list[STORE_LAYERS_MAX + 1];
	static char upper[PATH_SIZE], work[PATH_SIZE], root[PATH_SIZE];
	static struct overlay overlay;
	const char *data = path_data();
	size_t n = 0;

	overlay = (struct overlay){ .layer = list };
	if (!id)
		list[n++] = skeleton;
	for (unsigned i = 0; i < layers->n; i++) {
		snprintf(path[i], PATH_SIZE, "%s/layers/%s", data,
			 layers->name[i]);
		list[n++] = path[i];
	}
	overlay.n_layer = n;
	if (!id)
		return &overlay;
	snprintf(upper, PATH_SIZE, "%s/containers/%s/upper", data, id);
	snprintf(work, PATH_SIZE, "%s/containers/%s/work", data, id);
	snprintf(root, PATH_SIZE, "%s/containers/%s/root", data, id);
	overlay.upper = upper;
	overlay.work = work;
	overlay.mount_point = root;
	return &overlay;
}

static void kept_free(struct kept *k)
{
	char path[40];

	if (k->mount >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", k->mount);
		kernel_umount(path, KERNEL_MNT_DETACH);
	}
	fd_close(&k->mount);
	k->digest[0] = '\0';
}

static struct kept *kept_find(const char *digest)
{
	for (int i = 0; i < KEPT_MAX; i++) {
		if (strcmp(kept[i].digest, digest) == 0) {
			kept[i].used = ++uses;
			return &kept[i];
		}
	}
	return NULL;
}

/* The one that was not used for the longest time makes room. */
static struct kept *kept_new(const char *digest)
{
	struct kept *oldest = kept;

	for (int i = 1; i < KEPT_MAX; i++) {
		if (kept[i].used < oldest->used)
			oldest = &kept[i];
	}
	kept_free(oldest);
	oldest->used = ++uses;
	text_copy(oldest->digest, sizeof(oldest->digest), digest);
	return oldest;
}

static struct kept *kept_get(const char *digest, struct fault *fault)
{
	char error[STORE_ERROR_SIZE] = "";
	struct kept *k = digest[0] ? kept_find(digest) : NULL;
	struct digest image;

	if (k)
		return k;
	int r = digest_parse(span_of(digest), &image);

	if (r < 0) {
		fault_set(fault, r, "image digest");
		errno = -r;
		return NULL;
	}
	k = kept_new(digest);
	r = store_layers(&resident.store, &image, &k->layers, error);
	if (r == 0)
		return k;
	kept_free(k);
	fault_set(fault, 0, "%s", error);
	errno = -r;
	return NULL;
}

int image_root_find(const char *digest, struct fault *fault)
{
	return kept_get(digest, fault) ? 0 : -errno;
}

const struct overlay *image_root_overlay(const char *digest, const char *id,
					 struct fault *fault)
{
	const struct kept *k = kept_get(digest, fault);

	return k ? overlay_of(&k->layers, id) : NULL;
}

static int share(struct kept *k)
{
	autoclose int onto = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autoclose int mount =
		onto < 0 ? -errno : overlay_mount(overlay_of(&k->layers, NULL));
	int r = mount < 0 ? mount : kernel_attach(mount, onto);

	if (r == 0)
		k->mount = fd_take(&mount);
	return r;
}

static bool is_covered(const struct runtime_config *config, const char *path)
{
	for (size_t i = 0; i < config->n_mount; i++) {
		const char *above = config->mount[i].destination;
		size_t n = strlen(above);

		if (strncmp(path, above, n) == 0 && path[n] == '/')
			return true;
	}
	return false;
}

/* Nothing can be made in it: not the place of a mount, nor the directory that
 * the program starts in. */
static bool has(int root, const struct runtime_config *config, const char *path)
{
	if (is_covered(config, path) || strcmp(path, "/proc") == 0 ||
	    strcmp(path, "/sys") == 0 || strcmp(path, "/dev") == 0)
		return true;
	while (*path == '/')
		path++;
	autoclose int there = path_open_in_root(root, *path ? path : ".",
						O_PATH, 0);

	return there >= 0;
}

int image_root_shared(const char *digest, const struct runtime_config *config)
{
	struct kept *k = kept_find(digest);
	int r = k && k->mount < 0 && config->root_readonly ? share(k) : 0;

	if (!k || !config->root_readonly || r < 0)
		return r < 0 ? r : -ENOTSUP;
	if (!has(k->mount, config, config->process.cwd))
		return -ENOTSUP;
	for (size_t i = 0; i < config->n_mount; i++) {
		if (!has(k->mount, config, config->mount[i].destination))
			return -ENOTSUP;
	}
	return kernel_open_tree(k->mount, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
}

int image_root_own(const char *digest, const char *id, struct fault *fault)
{
	const struct overlay *overlay = image_root_overlay(digest, id, fault);
	int mount = overlay ? overlay_mount(overlay) : -errno;

	return overlay && mount < 0 ? fault_set(fault, mount, "root overlay")
				    : mount;
}

void image_root_forget(const char *digest)
{
	struct kept *k = digest[0] ? kept_find(digest) : NULL;

	if (k)
		kept_free(k);
}
