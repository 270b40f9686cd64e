#define _GNU_SOURCE
#include "shape.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reaper.h"
#include "serve.h"

/* A field that is added to a mount must be added to shape_of(). */
_Static_assert(sizeof(struct runtime_mount) == 160, "all is in the shape");

/* Whether path lies strictly beneath `above`, by its text. */
static bool is_beneath(const char *path, const char *above)
{
	size_t n = strlen(above);

	return strncmp(path, above, n) == 0 && path[n] == '/';
}

/* Each component is a name. */
static bool is_plain(const char *path)
{
	size_t n = strlen(path);

	return n > 1 && path[0] == '/' && path[n - 1] != '/' &&
	       !strstr(path, "//") && !strstr(path, "/.");
}

/* What an application adds lies elsewhere, so that all have one shape. */
static bool mount_is_ahead(const struct runtime_mount *m)
{
	static const char *const tops[] = { "/proc", "/dev", "/sys" };

	if (m->bind || m->remount || m->copy_up || m->idmap ||
	    m->idmap_recursive || m->destination_nofollow ||
	    strcmp(m->type, "file") == 0)
		return false;
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		if (strcmp(m->destination, tops[i]) == 0 ||
		    is_beneath(m->destination, tops[i]))
			return true;
	}
	return false;
}

static bool path_is_ahead(const struct runtime_config *config, const char *path)
{
	if (!is_plain(path))
		return false;
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (mount_is_ahead(m) && is_beneath(path, m->destination))
			return true;
	}
	return false;
}

/* Not inside another one that is made ahead: such a one is moved with it. */
static bool mount_is_top(const struct runtime_config *config, size_t i)
{
	return !path_is_ahead(config, config->mount[i].destination);
}

/* New namespaces of all kinds but those of users and time. */
static bool namespaces_fit(const struct runtime_config *config)
{
	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		const struct runtime_namespace_use *ns = &config->namespace[i];
		bool wanted = i != RUNTIME_NS_USER && i != RUNTIME_NS_TIME;

		if (ns->path || ns->set != wanted)
			return false;
	}
	return true;
}

/* What is made ahead comes first, so that nothing else can be meant to lie
 * above or below it. */
static bool mounts_fit(const struct runtime_config *config)
{
	bool has_dev = false, others = false;

	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (!is_plain(m->destination))
			return false;
		if (!mount_is_ahead(m)) {
			others = true;
			if (path_is_ahead(config, m->destination))
				return false;
			continue;
		}
		if (others)
			return false;
		for (size_t k = 0; k < i; k++) {
			const char *earlier = config->mount[k].destination;

			if (is_beneath(earlier, m->destination) ||
			    strcmp(earlier, m->destination) == 0)
				return false;
		}
		has_dev = has_dev || strcmp(m->destination, "/dev") == 0;
	}
	return has_dev;
}

static void put(struct shape *shape, const void *data, size_t size)
{
	size_t room = sizeof(shape->text) - shape->size;

	memcpy(shape->text + shape->size, data, size < room ? size : room);
	shape->size += size < room ? size : room;
}

/* Its NUL too, which no text of a config can hold. */
static void put_text(struct shape *shape, const char *text)
{
	put(shape, text, strlen(text) + 1);
}

static void put_mount(struct shape *shape, const struct runtime_mount *m)
{
	const uint64_t numbers[] = {
		m->attr_set,	    m->attr_clear,  m->tree_attr_set,
		m->tree_attr_clear, m->propagation, m->tree_propagation,
		m->sb_set,	    m->sb_clear,    m->data.n,
	};

	put_text(shape, m->destination);
	put_text(shape, m->type);
	put_text(shape, m->source ? m->source : "");
	put(shape, numbers, sizeof(numbers));
	for (size_t i = 0; i < m->data.n; i++)
		put_text(shape, m->data.item[i]);
}

static void put_paths(struct shape *shape, const struct runtime_config *config,
		      const struct text_list *paths)
{
	for (size_t i = 0; i < paths->n; i++) {
		if (path_is_ahead(config, paths->item[i]))
			put_text(shape, paths->item[i]);
	}
	put_text(shape, "");
}

bool shape_has_address(const struct runtime_config *config)
{
	return text_map_find(&config->annotations, ZRUN_ANNOTATION_ADDRESS);
}

int shape_of(const struct runtime_config *config, struct shape *shape)
{
	shape->size = 0;
	if (reaper_wanted(config) || !namespaces_fit(config) ||
	    !mounts_fit(config) || config->n_device ||
	    config->resources.n_device)
		return -ENOTSUP;
	for (size_t i = 0; i < config->n_mount; i++) {
		if (mount_is_ahead(&config->mount[i]))
			put_mount(shape, &config->mount[i]);
	}
	put_text(shape, shape_has_address(config) ? "address" : "");
	put_paths(shape, config, &config->masked_paths);
	put_paths(shape, config, &config->readonly_paths);
	if (shape->size == sizeof(shape->text)) {
		shape->size = 0;
		return -ENOTSUP;
	}
	return 0;
}

static bool op_is_ahead(const struct op *op,
			const struct runtime_config *config)
{
	if (op->code == OP_CGROUP_NAMESPACE)
		return true;
	if (op->code == OP_MOUNT)
		return mount_is_ahead(op->object);
	return (op->code == OP_DEVICE || op->code == OP_SYMLINK ||
		op->code == OP_MASK || op->code == OP_READONLY) &&
	       path_is_ahead(config, op->path);
}

void plan_ahead(struct plan *plan, const struct runtime_config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->n; i++) {
		if (op_is_ahead(&plan->op[i], config))
			plan->op[n++] = plan->op[i];
	}
	plan->n = n;
}

/* The root, what is moved into it, and then the process is inside. */
static size_t put_root(struct op *op, const struct runtime_config *config,
		       int root)
{
	size_t n = 0;

	op[n++] = (struct op){ .code = OP_ROOT_TAKE, .index = -1, .fd = root };
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if (mount_is_ahead(m) && mount_is_top(config, i))
			op[n++] = (struct op){ .code = OP_MOVE,
					       .index = (int)i,
					       .fd = -1,
					       .path = m->destination,
					       .object = m };
	}
	op[n++] = (struct op){ .code = OP_ROOT_ENTER, .index = -1, .fd = -1 };
	return n;
}

int plan_behind(struct plan *plan, const struct runtime_config *config,
		int root)
{
	size_t room = plan->n + config->n_mount + 2, n = 0;
	struct op *op = calloc(room, sizeof(*op));

	if (!op)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n; i++) {
		struct op *from = &plan->op[i];

		/* Ready is who has nothing more to do but execve. */
		if (from->code == OP_READY)
			continue;
		if (from->code == OP_EXEC)
			op[n++] = (struct op){ .code = OP_READY,
					       .index = -1,
					       .fd = -1 };
		if (from->code == OP_ROOT_BIND)
			n += put_root(op + n, config, root);
		else if (from->code == OP_NETWORK && from->number)
			op[n++] = (struct op){ .code = OP_ADDRESS,
					       .index = -1,
					       .number = from->number };
		else if (from->code != OP_NETWORK &&
			 from->code != OP_PROPAGATION &&
			 !(from->code == OP_OOM_SCORE && from->number == 0) &&
			 from->code != OP_PIVOT && !op_is_ahead(from, config))
			op[n++] = *from;
	}
	plan_free(plan);
	*plan = (struct plan){ op, n, room };
	return 0;
}
