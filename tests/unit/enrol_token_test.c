/* Enrolment tokens: what is taken, and that nothing else is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/enrol_token.h"
#include "tap.h"

#define PIN                                                              \
	"00112233445566778899aabbccddeeff00112233445566778899aabbccddee" \
	"ff"
#define HUB  "\"hub\":[\"hub.example:443\",\"[2001:db8::1]:8443\"]"
#define REST ",\"pin\":\"" PIN "\",\"id\":\"a1\",\"secret\":\"s-_\"}"

static struct enrol_token token;

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz0123456789-_";

/* Base64url of json behind the prefix, as the specification has it. */
static char *token_text(const char *json)
{
	size_t size = strlen(json), n = 7;
	char *text = malloc(size * 4 / 3 + 16);

	strcpy(text, "zooid1.");
	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i < 3 ? size - i : 3;
		unsigned v = (unsigned char)json[i] << 16;

		v |= left > 1 ? (unsigned)(unsigned char)json[i + 1] << 8 : 0;
		v |= left > 2 ? (unsigned char)json[i + 2] : 0;
		for (size_t k = 0; k <= left; k++)
			text[n++] = digits[v >> (18 - 6 * k) & 63];
	}
	text[n] = '\0';
	return text;
}

static int parse(const char *text)
{
	/* An exact copy, so that the sanitizer sees a read past the end. */
	char *exact = malloc(strlen(text) + 1);
	int err;

	memcpy(exact, text, strlen(text));
	err = enrol_token_parse((struct span){ exact, strlen(text) }, &token);
	free(exact);
	return err;
}

static int parse_json(const char *json)
{
	char *text = token_text(json);
	int err = parse(text);

	free(text);
	return err;
}

static const struct {
	const char *name, *json;
} refused[] = {
	{ "an array", "[]" },
	{ "no hub", "{\"x\":1" REST },
	{ "hub empty", "{\"hub\":[]" REST },
	{ "hub without port", "{\"hub\":[\"hub.example\"]" REST },
	{ "hub with port 0", "{\"hub\":[\"hub.example:0\"]" REST },
	{ "hub with a large port", "{\"hub\":[\"hub.example:65536\"]" REST },
	{ "hub with a space", "{\"hub\":[\"hub example:443\"]" REST },
	{ "hub a number", "{\"hub\":[443]" REST },
	{ "nine hubs", "{\"hub\":[\"a:1\",\"a:1\",\"a:1\",\"a:1\",\"a:1\","
		       "\"a:1\",\"a:1\",\"a:1\",\"a:1\"]" REST },
	{ "pin short",
	  "{" HUB ",\"pin\":\"00\",\"id\":\"a\",\"secret\":\"s\"}" },
	{ "pin of capitals",
	  "{" HUB ",\"pin\":\"00112233445566778899AABBCCDDEEFF"
	  "00112233445566778899AABBCCDDEEFF\",\"id\":\"a\","
	  "\"secret\":\"s\"}" },
	{ "no id", "{" HUB ",\"pin\":\"" PIN "\",\"secret\":\"s\"}" },
	{ "no secret", "{" HUB ",\"pin\":\"" PIN "\",\"id\":\"a\"}" },
	{ "secret with NUL", "{" HUB ",\"pin\":\"" PIN
			     "\",\"id\":\"a\",\"secret\":\"s\\u0000\"}" },
	{ "cut off", "{" HUB ",\"pin\":\"" PIN "\"" },
};

int main(void)
{
	char *good = token_text("{" HUB REST), *large = malloc(8192);

	ok(parse(good) == 0 && token.n_hub == 2 &&
		   !strcmp(token.hub[0], "hub.example:443") &&
		   !strcmp(token.hub[1], "[2001:db8::1]:8443") &&
		   token.pin[1] == 0x11 && token.pin[31] == 0xff &&
		   !strcmp(token.id, "a1") && !strcmp(token.secret, "s-_"),
	   "a token");
	ok(parse_json("{\"more\":{}," HUB REST) == 0, "unknown members");
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		ok(parse_json(refused[i].json) == -EINVAL && !token.n_hub &&
			   !token.secret[0],
		   "refused: %s", refused[i].name);
	ok(parse("") == -EINVAL && parse("zooid1.") == -EINVAL, "empty");
	ok(parse("zooid2.e30") == -EINVAL, "another version");
	ok(parse(good + 7) == -EINVAL, "no prefix");
	strcat(good, "=");
	ok(parse(good) == -EINVAL, "padding");
	memset(large, 'A', 8191);
	memcpy(large, "zooid1.", 7);
	large[8191] = '\0';
	ok(parse(large) == -EINVAL, "too large");
	free(good);
	free(large);
	return tap_done();
}
