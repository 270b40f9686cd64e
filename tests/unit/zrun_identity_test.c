/* The User of an image, looked up in files that the image's maker wrote. */
#include <errno.h>
#include <string.h>

#include "tap.h"
#include "zrun/identity.h"

#define PASSWD                            \
	"root:x:0:0:root:/root:/bin/sh\n" \
	"# a comment\n"                   \
	"broken:x:one:1\n"                \
	"short:x:7\n"                     \
	"\n"                              \
	"www:x:33:34:www:/www:/bin/sh\n"  \
	"huge:x:4294967295:0::/:\n"       \
	"last:x:99:98"
#define GROUP                   \
	"root:x:0:\n"           \
	"www:x:34:\n"           \
	"disk:x:6:root,www\n"   \
	"ww:x:7:ww\n"           \
	"audio:x:29:www,last\n" \
	"bad:x:-1:www\n"

static const struct {
	const char *user;
	int result;
	uint32_t uid, gid;
	size_t n_groups;
	uint32_t group; /* the first */
} cases[] = {
	{ "root", 0, 0, 0, 1, 6 },
	{ "www", 0, 33, 34, 2, 6 },
	{ "33", 0, 33, 34, 2, 6 },
	{ "last", 0, 99, 98, 1, 29 },
	{ "1234", 0, 1234, 0, 0, 0 },
	{ "1234:5678", 0, 1234, 5678, 0, 0 },
	{ "www:disk", 0, 33, 6, 0, 0 },
	{ "www:77", 0, 33, 77, 0, 0 },
	{ "1234:audio", 0, 1234, 29, 0, 0 },
	{ "www:", 0, 33, 34, 2, 6 },
	{ "www:77:audio,disk", 0, 33, 77, 2, 29 },
	{ "www::audio", 0, 33, 34, 3, 6 },
	{ "1234::audio", 0, 1234, 0, 1, 29 },
	{ "www::nogroup", -ENOENT, 33, 34, 0, 0 },
	{ "www::", -ENOENT, 33, 34, 0, 0 },
	{ "joe", -ENOENT, 0, 0, 0, 0 },
	{ "www:nogroup", -ENOENT, 33, 34, 0, 0 },
	{ "broken", -ENOENT, 0, 0, 0, 0 },
	{ "short", -ENOENT, 0, 0, 0, 0 },
	{ "huge", -ENOENT, 0, 0, 0, 0 },
	{ "4294967295", -ENOENT, 0, 0, 0, 0 },
	{ "-1", -ENOENT, 0, 0, 0, 0 },
	{ "", -EINVAL, 0, 0, 0, 0 },
	{ ":www", -EINVAL, 0, 0, 0, 0 },
};

int main(void)
{
	struct identity id;
	const char *what = "";

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int r = identity_find(cases[i].user, span_of(PASSWD),
				      span_of(GROUP), &id, &what);

		ok(r == cases[i].result &&
			   (r < 0 ||
			    (id.uid == cases[i].uid && id.gid == cases[i].gid &&
			     id.n_groups == cases[i].n_groups &&
			     (!id.n_groups || id.group[0] == cases[i].group))),
		   "\"%s\": %d, %u:%u, %zu groups", cases[i].user, r, id.uid,
		   id.gid, id.n_groups);
	}
	int r = identity_find("5", span_of(""), span_of(""), &id, &what);

	ok(r == 0 && id.uid == 5 && id.gid == 0, "an image without the files");
	return tap_done();
}
