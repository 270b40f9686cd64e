/* What registries say in header fields and tokens. */
#include <stdlib.h>
#include <string.h>

#include "registry/fields.h"
#include "tap.h"

static const struct {
	const char *field;
	bool basic, bearer;
	const char *realm, *service, *scope;
} challenges[] = {
	{ "", false, false, "", "", "" },
	{ "Basic realm=\"Registry\"", true, false, "", "", "" },
	{ "basic", true, false, "", "", "" },
	{ "Bearer realm=\"https://auth.example/token\","
	  "service=\"registry.example\",scope=\"repository:a/b:pull\"",
	  false, true, "https://auth.example/token", "registry.example",
	  "repository:a/b:pull" },
	{ "bearer Realm = \"https://a/t\" , SERVICE=s", false, true,
	  "https://a/t", "s", "" },
	{ "Negotiate, Bearer realm=\"https://a/t\", Basic realm=\"x\"", true,
	  true, "https://a/t", "", "" },
	{ "Basic realm=\"x\", Bearer service=\"s\"", true, true, "", "s", "" },
	{ "Bearer realm=\"first\",realm=\"second\"", false, true, "first", "",
	  "" },
	{ "Bearer realm=\"one\", Bearer realm=\"two\"", false, true, "one", "",
	  "" },
	{ "Bearer realm=\"a\\\"b\"", false, true, "a\"b", "", "" },
	{ "Bearer realm=\"https://a/t\",error=\"invalid_token\",scope=\"s\"",
	  false, true, "https://a/t", "", "s" },
	{ "Bearer realm=\"line\r\nend\",scope=\"s\"", false, true, "", "",
	  "s" },
	{ "Bearer realm=\"no end", false, true, "", "", "" },
	{ "Bearer realm=", false, true, "", "", "" },
	{ "Bearer realm", false, true, "", "", "" },
	{ "=\"x\"", false, false, "", "", "" },
	{ "Digest realm=\"https://a/t\"", false, false, "", "", "" },
};

static const struct {
	const char *field;
	int result;
	uint64_t first, last, total;
} ranges[] = {
	{ "bytes 0-0/1", 0, 0, 0, 1 },
	{ "bytes 5-9/10", 0, 5, 9, 10 },
	{ "Bytes 5-9/*", 0, 5, 9, RANGE_UNKNOWN },
	{ "bytes 5-9/9", -1, 0, 0, 0 },
	{ "bytes 9-5/10", -1, 0, 0, 0 },
	{ "bytes */10", -1, 0, 0, 0 },
	{ "bytes -5/10", -1, 0, 0, 0 },
	{ "bytes 5-/10", -1, 0, 0, 0 },
	{ "bytes 5-9", -1, 0, 0, 0 },
	{ "bytes 5-9/", -1, 0, 0, 0 },
	{ "bytes 5-9/10/11", -1, 0, 0, 0 },
	{ "bytes +5-9/10", -1, 0, 0, 0 },
	{ "bytes 0-18446744073709551615/18446744073709551616", -1, 0, 0, 0 },
	{ "bytes=5-9/10", -1, 0, 0, 0 },
	{ "chunks 5-9/10", -1, 0, 0, 0 },
	{ "", -1, 0, 0, 0 },
};

static const struct {
	const char *body, *token; /* NULL: none */
	uint32_t expires_s;
} tokens[] = {
	{ "{\"token\":\"abc.def\",\"expires_in\":300}", "abc.def", 300 },
	{ "{\"access_token\":\"x\"}", "x", 60 },
	{ "{\"token\":\"a\",\"access_token\":\"b\"}", "a", 60 },
	{ "{\"token\":\"a\",\"expires_in\":-1}", "a", 60 },
	{ "{\"token\":\"a\",\"expires_in\":99999999999}", "a", 86400 },
	{ "{\"token\":\"a\\r\\nHost: b\"}", NULL, 0 },
	{ "{\"token\":\"a b\"}", NULL, 0 },
	{ "{\"token\":\"\"}", NULL, 0 },
	{ "{\"token\":7}", NULL, 0 },
	{ "{}", NULL, 0 },
	{ "[]", NULL, 0 },
	{ "\"token\"", NULL, 0 },
	{ "{\"token\":\"a\"", NULL, 0 },
	{ "", NULL, 0 },
};

/* An exact copy, so that the sanitizer sees a read past the end. */
static struct span exact(const char *text, char **copy)
{
	size_t size = strlen(text);

	*copy = malloc(size ? size : 1);
	memcpy(*copy, text, size);
	return (struct span){ *copy, size };
}

static void test_challenges(void)
{
	for (size_t i = 0; i < sizeof(challenges) / sizeof(*challenges); i++) {
		struct challenge c = { 0 };
		char *copy;

		challenge_read(exact(challenges[i].field, &copy), &c);
		free(copy);
		ok(c.basic == challenges[i].basic &&
			   c.bearer == challenges[i].bearer &&
			   !strcmp(c.realm, challenges[i].realm) &&
			   !strcmp(c.service, challenges[i].service) &&
			   !strcmp(c.scope, challenges[i].scope),
		   "challenge %zu: \"%s\" \"%s\" \"%s\"", i, c.realm, c.service,
		   c.scope);
	}
}

static void test_several_fields(void)
{
	struct challenge c = { 0 };

	challenge_read(span_of("Basic realm=\"x\""), &c);
	challenge_read(span_of("Bearer realm=\"https://a/t\""), &c);
	challenge_read(span_of("Bearer scope=\"other\""), &c);
	ok(c.basic && c.bearer && !strcmp(c.realm, "https://a/t") &&
		   !c.scope[0],
	   "several fields, the first Bearer counts");
}

static void test_ranges(void)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		struct content_range range = { 0 };
		char *copy;
		int r = content_range_parse(exact(ranges[i].field, &copy),
					    &range);

		free(copy);
		ok((r < 0) == (ranges[i].result < 0) &&
			   (r < 0 || (range.first == ranges[i].first &&
				      range.last == ranges[i].last &&
				      range.total == ranges[i].total)),
		   "range \"%s\"", ranges[i].field);
	}
}

static void test_tokens(void)
{
	static char token[TOKEN_SIZE];

	for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
		uint32_t expires_s = 0;
		char *copy;
		int r = token_parse(exact(tokens[i].body, &copy), token,
				    &expires_s);

		free(copy);
		ok((r == 0) == (tokens[i].token != NULL) &&
			   (r || (!strcmp(token, tokens[i].token) &&
				  expires_s == tokens[i].expires_s)),
		   "token %zu", i);
	}
}

int main(void)
{
	test_challenges();
	test_several_fields();
	test_ranges();
	test_tokens();
	return tap_done();
}
