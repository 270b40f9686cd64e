/* References to images: what each form stands for, and what is none. */
#include <stdlib.h>
#include <string.h>

#include "registry/reference.h"
#include "tap.h"

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define D   "@sha256:" HEX
#define TEN "aaaaaaaaaa"
#define C60 TEN TEN TEN TEN TEN TEN

static const struct {
	const char *text, *host, *repository, *tag;
	bool has_digest;
} good[] = {
	{ "busybox", "", "library/busybox", "latest", false },
	{ "busybox:1.36", "", "library/busybox", "1.36", false },
	{ "busybox" D, "", "library/busybox", "", true },
	{ "busybox:1.36" D, "", "library/busybox", "1.36", true },
	{ "team/web", "", "team/web", "latest", false },
	{ "registry.example/busybox", "registry.example", "busybox", "latest",
	  false },
	{ "a.example/team/web:v1", "a.example", "team/web", "v1", false },
	{ "a.example", "", "library/a.example", "latest", false },
	{ "localhost/web", "localhost", "web", "latest", false },
	{ "localhost:5000/web", "localhost:5000", "web", "latest", false },
	{ "10.0.2.2:5000/a/b/c:x" D, "10.0.2.2:5000", "a/b/c", "x", true },
	{ "[2001:db8::1]/web", "[2001:db8::1]", "web", "latest", false },
	{ "[::1]:443/web", "[::1]:443", "web", "latest", false },
	{ "Registry.Example/a", "Registry.Example", "a", "latest", false },
	{ "x.example/a.b_c__d---e", "x.example", "a.b_c__d---e", "latest",
	  false },
	{ "a:_tag.With-all_", "", "library/a", "_tag.With-all_", false },
	{ "localhost:80/a:80", "localhost:80", "a", "80", false },
	/* Of another registry, at a hub. */
	{ "hub.example/10.0.0.5:5000/web:1", "hub.example", "10.0.0.5:5000/web",
	  "1", false },
	{ "hub.example/localhost:5000/web" D, "hub.example",
	  "localhost:5000/web", "", true },
};

static const char *const bad[] = {
	"",
	":latest",
	"/busybox",
	"busybox/",
	"a//b",
	"Busybox",
	"busybox:",
	"busybox:-x",
	"busybox:a b",
	"busybox:1:2",
	"busybox@",
	"busybox@sha256:1234",
	"busybox" D "x",
	"busybox@SHA256:" HEX,
	"https://a.example/a",
	"a.example/",
	"a.example:0/a",
	"a.example/a:0/b",
	"a.example/a/b:5000/c",
	"a.example:65536/a",
	"a.example:/a",
	"a.example:8x/a",
	"-a.example/b",
	"user@a.example/a",
	"a_b.example/c",
	"[::1/a",
	"[]/a",
	"[::1]x/a",
	"[::1]:/a",
	"a./b.c.",
	"a..b",
	"a___b",
	"-a",
	"a-",
	"a/../b",
	"a?b",
	"a%2fb",
	"a\n",
	"b:" C60 C60 "aaaaaaaaa",
	"b/" C60 C60 C60 C60 TEN TEN,
};

static bool matches(const struct reference *r, size_t i)
{
	char text[DIGEST_TEXT_SIZE];

	digest_text(&r->digest, text);
	return !strcmp(r->host, good[i].host) &&
	       !strcmp(r->repository, good[i].repository) &&
	       !strcmp(r->tag, good[i].tag) &&
	       r->has_digest == good[i].has_digest &&
	       (!r->has_digest || !strcmp(text, D + 1));
}

/* An exact copy, so that the sanitizer sees a read past the end. */
static int parse(const char *text, size_t size, struct reference *reference)
{
	char *exact = malloc(size ? size : 1);
	int r;

	memcpy(exact, text, size);
	r = reference_parse((struct span){ exact, size }, reference);
	free(exact);
	return r;
}

int main(void)
{
	struct reference r;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ok(parse(good[i].text, strlen(good[i].text), &r) == 0 &&
			   matches(&r, i),
		   "%s: %s %s %s", good[i].text, r.host, r.repository, r.tag);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(parse(bad[i], strlen(bad[i]), &r) < 0, "not \"%s\"",
		   bad[i][0] == 'a' && strchr(bad[i], '\n') ? "a, line end"
							    : bad[i]);
	ok(parse("a\0b", 3, &r) < 0, "not with a NUL byte");
	return tap_done();
}
