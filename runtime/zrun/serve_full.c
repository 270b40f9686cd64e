/* Who has used up what there is to write to: the kernel tells nobody but the
 * one who writes (EDQUOT), so znode asks. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "quota.h"
#include "resident.h"
#include "sleep.h"

/* Calls `each` for all that are there until it returns true; then true. */
static bool any_below(int parent,
		      bool (*each)(void *arg, const char *name,
				   const struct quota_use *use),
		      void *arg)
{
	DIR *list = path_list(parent, ".");
	struct quota_use use;
	bool found = false;

	for (struct dirent *e; list && !found && (e = readdir(list));) {
		if (e->d_name[0] == '.')
			continue;
		autoclose int fd = openat(parent, e->d_name,
					  O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
						  O_CLOEXEC);

		if (fd >= 0 && quota_use(fd, &use) == 0)
			found = each(arg, e->d_name, &use);
	}
	if (list)
		closedir(list);
	return found;
}

struct search {
	uint32_t left; /* to pass over */
	const char *what;
	struct zrun_reply *reply;
	/* of a whole group: who holds most */
	char most[ZRUN_VOLUME_NAME_MAX + 1];
	uint64_t most_used;
};

static void tell(struct search *s, const char *all, const char *name,
		 uint64_t used, uint64_t limit)
{
	snprintf(s->reply->text, sizeof(s->reply->text),
		 "%s%s %.127s %llu %llu", all, s->what, name,
		 (unsigned long long)used >> 20,
		 (unsigned long long)limit >> 20);
}

static bool full(void *arg, const char *name, const struct quota_use *use)
{
	struct search *s = arg;

	if (!quota_is_full(use) || s->left-- > 0)
		return false;
	tell(s, "", name, use->used_bytes, use->limit_bytes);
	return true;
}

static bool more(void *arg, const char *name, const struct quota_use *use)
{
	struct search *s = arg;

	if (use->used_bytes > s->most_used) {
		s->most_used = use->used_bytes;
		text_copy(s->most, sizeof(s->most), name);
	}
	return false;
}

static bool full_all(struct search *s, int parent, enum quota_group group)
{
	struct quota_use use;

	if (quota_use_group(group, &use) < 0 || !quota_is_full(&use))
		return false;
	s->most_used = 0;
	any_below(parent, more, s);
	if (!s->most_used || s->left-- > 0)
		return false;
	tell(s, "all-", s->most, s->most_used, use.limit_bytes);
	return true;
}

int serve_full(const struct asked *asked, struct zrun_reply *reply)
{
	const struct {
		const char *what;
		int parent;
		enum quota_group group;
	} kinds[] = {
		{ "volume", resident.volumes, QUOTA_VOLUMES },
		{ "container", resident.containers, QUOTA_LAYERS },
	};
	struct search s = { .left = asked->request->arg, .reply = reply };

	if (s.left == 0) {
		sleep_images_thin();
		quota_refresh();
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		s.what = kinds[i].what;
		if (any_below(kinds[i].parent, full, &s) ||
		    full_all(&s, kinds[i].parent, kinds[i].group))
			return 0;
	}
	return -ENOENT;
}
