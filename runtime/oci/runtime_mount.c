/* config.json: mounts. The words of mount(8) that the specification lists are
 * sorted into what the kernel's mount API wants: attributes of the mount,
 * flags of the superblock, propagation; every other word is data for the file
 * system. */
#include <linux/mount.h>
#include <string.h>

#include "runtime_parts.h"

enum word_kind {
	WORD_NONE,	 /* asks for the default */
	WORD_ATTR,	 /* MOUNT_ATTR_* set */
	WORD_ATTR_CLEAR, /* ... cleared */
	WORD_ATIME,	 /* one of the access time modes */
	WORD_TREE,	 /* as ATTR, with all mounts below */
	WORD_TREE_CLEAR,
	WORD_TREE_ATIME,
	WORD_SB, /* enum runtime_sb_flag */
	WORD_SB_CLEAR,
	WORD_READONLY, /* both sides: 1 read-only, 0 writable */
	WORD_BIND,     /* 1 with all below */
	WORD_IDMAP,    /* 1 with all below */
	WORD_MEMBER,   /* a bool of struct runtime_mount, by its offset */
};

#define MEMBER(name) offsetof(struct runtime_mount, name)

static const struct word {
	const char *name;
	enum word_kind kind;
	uint64_t value;
} words[] = {
	{ "defaults", WORD_NONE, 0 },
	{ "ro", WORD_READONLY, 1 },
	{ "rw", WORD_READONLY, 0 },
	{ "nosuid", WORD_ATTR, MOUNT_ATTR_NOSUID },
	{ "suid", WORD_ATTR_CLEAR, MOUNT_ATTR_NOSUID },
	{ "nodev", WORD_ATTR, MOUNT_ATTR_NODEV },
	{ "dev", WORD_ATTR_CLEAR, MOUNT_ATTR_NODEV },
	{ "noexec", WORD_ATTR, MOUNT_ATTR_NOEXEC },
	{ "exec", WORD_ATTR_CLEAR, MOUNT_ATTR_NOEXEC },
	{ "nodiratime", WORD_ATTR, MOUNT_ATTR_NODIRATIME },
	{ "diratime", WORD_ATTR_CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "nosymfollow", WORD_ATTR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "symfollow", WORD_ATTR_CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "relatime", WORD_ATIME, MOUNT_ATTR_RELATIME },
	{ "atime", WORD_ATIME, MOUNT_ATTR_RELATIME },
	{ "norelatime", WORD_ATIME, MOUNT_ATTR_STRICTATIME },
	{ "noatime", WORD_ATIME, MOUNT_ATTR_NOATIME },
	{ "strictatime", WORD_ATIME, MOUNT_ATTR_STRICTATIME },
	{ "nostrictatime", WORD_ATIME, MOUNT_ATTR_RELATIME },
	{ "rro", WORD_TREE, MOUNT_ATTR_RDONLY },
	{ "rrw", WORD_TREE_CLEAR, MOUNT_ATTR_RDONLY },
	{ "rnosuid", WORD_TREE, MOUNT_ATTR_NOSUID },
	{ "rsuid", WORD_TREE_CLEAR, MOUNT_ATTR_NOSUID },
	{ "rnodev", WORD_TREE, MOUNT_ATTR_NODEV },
	{ "rdev", WORD_TREE_CLEAR, MOUNT_ATTR_NODEV },
	{ "rnoexec", WORD_TREE, MOUNT_ATTR_NOEXEC },
	{ "rexec", WORD_TREE_CLEAR, MOUNT_ATTR_NOEXEC },
	{ "rnodiratime", WORD_TREE, MOUNT_ATTR_NODIRATIME },
	{ "rdiratime", WORD_TREE_CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "rnosymfollow", WORD_TREE, MOUNT_ATTR_NOSYMFOLLOW },
	{ "rsymfollow", WORD_TREE_CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "rrelatime", WORD_TREE_ATIME, MOUNT_ATTR_RELATIME },
	{ "ratime", WORD_TREE_ATIME, MOUNT_ATTR_RELATIME },
	{ "rnorelatime", WORD_TREE_ATIME, MOUNT_ATTR_STRICTATIME },
	{ "rnoatime", WORD_TREE_ATIME, MOUNT_ATTR_NOATIME },
	{ "rstrictatime", WORD_TREE_ATIME, MOUNT_ATTR_STRICTATIME },
	{ "rnostrictatime", WORD_TREE_ATIME, MOUNT_ATTR_RELATIME },
	{ "sync", WORD_SB, RUNTIME_SB_SYNC },
	{ "async", WORD_SB_CLEAR, RUNTIME_SB_SYNC },
	{ "dirsync", WORD_SB, RUNTIME_SB_DIRSYNC },
	{ "mand", WORD_NONE, 0 }, /* gone from the kernel */
	{ "nomand", WORD_NONE, 0 },
	{ "lazytime", WORD_SB, RUNTIME_SB_LAZYTIME },
	{ "nolazytime", WORD_SB_CLEAR, RUNTIME_SB_LAZYTIME },
	{ "iversion", WORD_NONE, 0 }, /* a file system decides by itself */
	{ "noiversion", WORD_NONE, 0 },
	{ "silent", WORD_NONE, 0 }, /* nothing is logged either way */
	{ "loud", WORD_NONE, 0 },
	{ "bind", WORD_BIND, 0 },
	{ "rbind", WORD_BIND, 1 },
	{ "remount", WORD_MEMBER, MEMBER(remount) },
	{ "src-nofollow", WORD_MEMBER, MEMBER(source_nofollow) },
	{ "dest-nofollow", WORD_MEMBER, MEMBER(destination_nofollow) },
	{ "copy-symlink", WORD_MEMBER, MEMBER(copy_symlink) },
	{ "tmpcopyup", WORD_MEMBER, MEMBER(copy_up) },
	{ "idmap", WORD_IDMAP, 0 },
	{ "ridmap", WORD_IDMAP, 1 },
	{ "private", WORD_NONE, 0 }, /* here for runtime_mount_word() */
	{ "rprivate", WORD_NONE, 0 },
	{ "shared", WORD_NONE, 0 },
	{ "rshared", WORD_NONE, 0 },
	{ "slave", WORD_NONE, 0 },
	{ "rslave", WORD_NONE, 0 },
	{ "unbindable", WORD_NONE, 0 },
	{ "runbindable", WORD_NONE, 0 },
	/* Last: zrun serve's own, which runtime_mount_word() does not tell. */
	{ "volume-copy", WORD_MEMBER, MEMBER(fill) },
};

const char *runtime_mount_word(size_t i)
{
	return i < N_OF(words) - 1 ? words[i].name : NULL;
}

uint64_t propagation_word(const char *word, bool *recursive)
{
	static const struct {
		const char *name;
		uint64_t flag;
	} kinds[] = {
		{ "private", MS_PRIVATE },
		{ "shared", MS_SHARED },
		{ "slave", MS_SLAVE },
		{ "unbindable", MS_UNBINDABLE },
	};

	*recursive = word[0] == 'r';
	for (size_t i = 0; i < N_OF(kinds); i++) {
		if (strcmp(word + *recursive, kinds[i].name) == 0)
			return kinds[i].flag;
	}
	return 0;
}

static void attr_set(uint64_t *set, uint64_t *clear, uint64_t value)
{
	*set |= value;
	*clear &= ~value;
}

/* The access time modes are a number inside the flags, not bits: the kernel
 * wants the whole field cleared to set one. */
static void atime_set(uint64_t *set, uint64_t *clear, uint64_t mode)
{
	*clear |= MOUNT_ATTR__ATIME;
	*set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | mode;
}

static void readonly_set(struct runtime_mount *m, bool readonly)
{
	if (readonly) {
		attr_set(&m->attr_set, &m->attr_clear, MOUNT_ATTR_RDONLY);
		m->sb_set |= RUNTIME_SB_RDONLY;
	} else {
		attr_set(&m->attr_clear, &m->attr_set, MOUNT_ATTR_RDONLY);
		m->sb_set &= ~(uint32_t)RUNTIME_SB_RDONLY;
	}
}

static void word_apply(const struct word *word, struct runtime_mount *m)
{
	switch (word->kind) {
	case WORD_NONE:
		break;
	case WORD_ATTR:
		attr_set(&m->attr_set, &m->attr_clear, word->value);
		break;
	case WORD_ATTR_CLEAR:
		attr_set(&m->attr_clear, &m->attr_set, word->value);
		break;
	case WORD_ATIME:
		atime_set(&m->attr_set, &m->attr_clear, word->value);
		break;
	case WORD_TREE:
		attr_set(&m->tree_attr_set, &m->tree_attr_clear, word->value);
		break;
	case WORD_TREE_CLEAR:
		attr_set(&m->tree_attr_clear, &m->tree_attr_set, word->value);
		break;
	case WORD_TREE_ATIME:
		atime_set(&m->tree_attr_set, &m->tree_attr_clear, word->value);
		break;
	case WORD_SB:
		m->sb_set |= (uint32_t)word->value;
		m->sb_clear &= ~(uint32_t)word->value;
		break;
	case WORD_SB_CLEAR:
		m->sb_clear |= (uint32_t)word->value;
		m->sb_set &= ~(uint32_t)word->value;
		break;
	case WORD_READONLY:
		readonly_set(m, word->value);
		break;
	case WORD_BIND:
		m->bind = true;
		m->recursive = word->value;
		break;
	case WORD_IDMAP:
		m->idmap = true;
		m->idmap_recursive = word->value;
		break;
	case WORD_MEMBER:
		*(bool *)((char *)m + word->value) = true;
		break;
	}
}

static int option_apply(struct json_read *in, const struct at *at,
			struct runtime_mount *m)
{
	const char *option = yyjson_get_str(at->val);
	bool recursive;
	uint64_t flag = propagation_word(option, &recursive);

	if (flag) {
		*(recursive ? &m->tree_propagation : &m->propagation) = flag;
		return 0;
	}
	for (size_t i = 0; i < N_OF(words); i++) {
		if (strcmp(option, words[i].name) != 0)
			continue;
		word_apply(&words[i], m);
		return 0;
	}
	if (strncmp(option, "idmap=", 6) == 0 ||
	    strncmp(option, "ridmap=", 7) == 0) {
		m->idmap = true;
		m->idmap_recursive = *option == 'r';
		return at_idmap_option(in, at, strchr(option, '=') + 1, m);
	}
	m->data.item[m->data.n++] = option;
	return 0;
}

static int at_options(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_mount *m = out;
	struct text_list list = { 0 };
	int r = at_text_list(in, at, &list);
	yyjson_arr_iter iter;

	if (r < 0)
		return r;
	/* Each option becomes data or not, so the list's own array can take
	 * the data: it never overtakes the reading, which uses the tree. */
	m->data.item = list.item;
	yyjson_arr_iter_init(at->val, &iter);
	for (size_t i = 0; i < list.n; i++) {
		struct at option = { .val = yyjson_arr_iter_next(&iter),
				     .up = at,
				     .index = i };

		r = option_apply(in, &option, m);
		if (r < 0)
			return r;
	}
	m->data.item[m->data.n] = NULL;
	return 0;
}

static int at_destination(struct json_read *in, const struct at *at, void *out)
{
	int r = at_text(in, at, out);

	if (r == 0 && strlen(*(const char **)out) >= 4096)
		return at_error(in, at, "longer than 4095 bytes");
	/* A relative one is taken from the root, as runc does. */
	return r;
}

#define AT(name) offsetof(struct runtime_mount, name)

static int at_mount(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "destination", at_destination, AT(destination) },
		{ "type", at_text, AT(type) },
		{ "source", at_text, AT(source) },
		{ "options", at_options, 0 },
		{ "uidMappings", at_id_maps, AT(uid_maps) },
		{ "gidMappings", at_id_maps, AT(gid_maps) },
	};
	struct runtime_mount *m = out;
	int r = at_object(in, at, fields, N_OF(fields), m);

	if (r < 0)
		return r;
	if (!m->destination || !m->destination[0])
		return at_error(in, at, "destination is missing");
	if (m->bind || (m->type && strcmp(m->type, "bind") == 0) ||
	    (!m->type && !m->remount)) {
		/* type "bind" alone means bind without what lies below. */
		m->bind = true;
		m->type = "bind";
		if (!m->remount && (!m->source || !m->source[0]))
			return at_error(in, at, "a bind mount needs a source");
	}
	if (m->copy_up &&
	    (m->bind || !m->type || strcmp(m->type, "tmpfs") != 0))
		return at_error(in, at, "tmpcopyup goes with tmpfs only");
	return runtime_mount_maps_check(in, at, m);
}

int at_mounts(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_config *config = out;

	return at_array(in, at, sizeof(*config->mount), at_mount,
			&config->mount, &config->n_mount);
}
