/* Documents of OCI images, real ones (as umoci and skopeo wrote them) and bad
 * ones: what is taken, and the line that each mistake gets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci/image_config.h"
#include "oci/image_index.h"
#include "oci/image_manifest.h"
#include "tap.h"

#define D64(c)	  c c c c c c c c c c c c c c c c
#define DIGEST(c) "sha256:" D64(c c c c)
#define A	  DIGEST("a")
#define B	  DIGEST("b")
#define OCI	  "application/vnd.oci.image."

static char error[IMAGE_ERROR_SIZE];

/* An exact copy, so that the sanitizer sees a read past the end. */
static struct span exact(const char *text)
{
	size_t size = strlen(text);
	char *copy = malloc(size ? size : 1);

	memcpy(copy, text, size);
	return (struct span){ copy, size };
}

static void exact_free(struct span s)
{
	free((char *)(uintptr_t)s.data);
}

/* ------------------------------------------------------------- real ones */

static const char umoci_index[] =
	"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/"
	"vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:"
	"2bf5ff35f98edeee07ba4a0938ec64a793ed566ba3f1f89fae61bfd12f0d8392\","
	"\"size\":502,\"annotations\":{\"org.opencontainers.image.ref.name\":"
	"\"latest\"}}]}";

static const char umoci_manifest[] =
	"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
	"vnd.oci.image.config.v1+json\",\"digest\":\"sha256:"
	"4bc9956b1ec841d2bbc6a16a75b55a100f9763e78389306cb0df6944cd552708\","
	"\"size\":653},\"layers\":[{\"mediaType\":\"application/"
	"vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:"
	"56ea43beaf438a8f0041e56dc6aabefa3e3e1f6dc2c77dcce00768b369911a12\","
	"\"size\":1085026},{\"mediaType\":\"application/"
	"vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:"
	"c1ff8b160753aff71b5f1278a1f61059cac726d9927806d774810fad34d57f8a\","
	"\"size\":79}]}";

static const char skopeo_docker_manifest[] =
	"{\"schemaVersion\":2,\"mediaType\":\"application/"
	"vnd.docker.distribution.manifest.v2+json\",\"config\":{\"mediaType\":"
	"\"application/vnd.docker.container.image.v1+json\",\"size\":653,"
	"\"digest\":\"sha256:"
	"03358294d78a4c06ff190ac26177a1524bbcceffa16e133a71d11fbaa8bfae77\"},"
	"\"layers\":[{\"mediaType\":\"application/"
	"vnd.docker.image.rootfs.diff.tar.gzip\",\"size\":1085040,\"digest\":"
	"\"sha256:"
	"f39d7bf16880bea5cf9b27f1f8f0b7b5a775011805277503b1d4dea48af29367\"},"
	"{\"mediaType\":\"application/vnd.docker.image.rootfs.diff.tar.gzip\","
	"\"size\":85,\"digest\":\"sha256:"
	"d7612e72a00953f3d1674bde1bfe302ab42a9ff6ef851627e4cc145e6363bc6b\"}]"
	"}";

static const char umoci_config[] =
	"{\"created\":\"2023-11-14T22:13:20Z\",\"architecture\":\"amd64\","
	"\"os\":\"linux\",\"config\":{\"User\":\"www\",\"ExposedPorts\":{"
	"\"80/tcp\":{}},\"Env\":[\"PATH=/bin\"],\"Entrypoint\":[\"httpd\","
	"\"-f\"],\"Cmd\":[\"-p\",\"80\",\"-h\",\"/www\"],\"WorkingDir\":"
	"\"/www\",\"StopSignal\":\"SIGKILL\"},\"rootfs\":{\"type\":\"layers\","
	"\"diff_ids\":[\"sha256:"
	"1589b6a587fcf5c5f29c15ae4b7d76570c8b05115569167b8a02b9917ac61ea9\","
	"\"sha256:"
	"ff1fe7d2bb6bca3a84983e031e49aee174ce2ebccda4b0380f2e4d0a04adc3df\"]"
	"},\"history\":[{\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":"
	"\"umoci insert\"}]}";

static void test_real_index(void)
{
	struct image_index *index = malloc(sizeof(*index));
	struct span text = exact(umoci_index);
	char digest[DIGEST_TEXT_SIZE];

	ok(image_index_parse(text, index, error) == 0 && index->n == 1,
	   "umoci's index.json");
	digest_text(&index->entry[0].descriptor.digest, digest);
	ok(strncmp(digest, "sha256:2bf5ff35f98e", 19) == 0 &&
		   index->entry[0].descriptor.size == 502 &&
		   strcmp(index->entry[0].tag, "latest") == 0,
	   "its one entry");
	ok(image_index_pick(index, "", &image_platform_own, error) == 0,
	   "picked without a tag");
	ok(image_index_pick(index, "v2", &image_platform_own, error) ==
			   -ENOENT &&
		   strstr(error, "tag v2"),
	   "not picked by another tag: %s", error);
	exact_free(text);
	free(index);
}

static void test_real_manifest(const char *name, const char *document,
			       uint64_t size)
{
	struct image_manifest *m = malloc(sizeof(*m));
	struct span text = exact(document);

	ok(image_manifest_parse(text, m, error) == 0 && m->n_layers == 2 &&
		   m->config.size == 653 && m->layer[0].size == size &&
		   m->layer[1].media == IMAGE_MEDIA_LAYER_GZIP,
	   "%s", name);
	exact_free(text);
	free(m);
}

static void test_health(void)
{
	static const struct {
		const char *name, *json; /* of Healthcheck */
		int error;
		bool off;
		unsigned n;
		const char *first, *last;
		uint32_t interval, retries;
	} rows[] = {
		{ "none", "null", 0, false, 0, NULL, NULL, 0, 0 },
		{ "one by its words",
		  "{\"Test\":[\"CMD\",\"probe\",\"-q\"],\"Interval\":"
		  "1500000000,\"Retries\":2}",
		  0, false, 2, "probe", "-q", 1500, 2 },
		{ "one for a shell", "{\"Test\":[\"CMD-SHELL\",\"a || b\"]}", 0,
		  false, 3, "/bin/sh", "a || b", 0, 0 },
		{ "one that is off", "{\"Test\":[\"NONE\"]}", 0, true, 0, NULL,
		  NULL, 0, 0 },
		{ "an empty one", "{\"Test\":[]}", 0, false, 0, NULL, NULL, 0,
		  0 },
		{ "less than a ms, and more than fits",
		  "{\"Interval\":5,\"Retries\":18446744073709551615}", 0, false,
		  0, NULL, NULL, 1, INT32_MAX },
		{ "an unknown kind", "{\"Test\":[\"HTTP\",\"/\"]}", -EINVAL,
		  false, 0, NULL, NULL, 0, 0 },
		{ "a kind without a program", "{\"Test\":[\"CMD\"]}", -EINVAL,
		  false, 0, NULL, NULL, 0, 0 },
		{ "two texts for a shell",
		  "{\"Test\":[\"CMD-SHELL\",\"a\",\"b\"]}", -EINVAL, false, 0,
		  NULL, NULL, 0, 0 },
		{ "a time below 0", "{\"Interval\":-1}", -EINVAL, false, 0,
		  NULL, NULL, 0, 0 },
		{ "text as a time", "{\"Timeout\":\"3s\"}", -EINVAL, false, 0,
		  NULL, NULL, 0, 0 },
	};
	struct image_config *c = malloc(sizeof(*c));

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct image_health *h = &c->health;
		char document[512];
		struct span text;
		int r;

		snprintf(document, sizeof(document),
			 "{\"architecture\":\"amd64\",\"os\":\"linux\","
			 "\"config\":{\"Healthcheck\":%s},\"rootfs\":{"
			 "\"diff_ids\":[\"sha256:1589b6a587fcf5c5f29c15ae4b7d"
			 "76570c8b05115569167b8a02b9917ac61ea9\"]}}",
			 rows[i].json);
		text = exact(document);
		r = image_config_parse(text, c, error);
		ok(r == rows[i].error && (r || (h->off == rows[i].off &&
						h->test.n == rows[i].n)),
		   "HEALTHCHECK: %s", rows[i].name);
		if (!r)
			ok(h->interval == rows[i].interval &&
				   h->retries == rows[i].retries &&
				   (!h->test.n ||
				    (!strcmp(h->test.item[0], rows[i].first) &&
				     !strcmp(h->test.item[h->test.n - 1],
					     rows[i].last) &&
				     !h->test.item[h->test.n])),
			   "what it says: %s", rows[i].name);
		image_config_free(c);
		exact_free(text);
	}
	free(c);
}

static void test_real_config(void)
{
	struct image_config *c = malloc(sizeof(*c));
	struct span text = exact(umoci_config);

	ok(image_config_parse(text, c, error) == 0, "umoci's config");
	exact_free(text); /* the strings are the config's own */
	ok(strcmp(c->platform.architecture, "amd64") == 0 &&
		   strcmp(c->platform.os, "linux") == 0,
	   "platform");
	ok(c->entrypoint.n == 2 && strcmp(c->entrypoint.item[1], "-f") == 0 &&
		   !c->entrypoint.item[2] && c->command.n == 4,
	   "entrypoint and command");
	ok(strcmp(c->user, "www") == 0 && strcmp(c->working_dir, "/www") == 0 &&
		   strcmp(c->stop_signal, "SIGKILL") == 0,
	   "user, directory, signal");
	ok(c->n_ports == 1 && c->port[0].port == 80 &&
		   c->port[0].protocol == IMAGE_TCP && c->n_diff_ids == 2,
	   "port and diff_ids");
	image_config_free(c);
	free(c);
}

/* ---------------------------------------------------------------- layout */

static void test_layout(void)
{
	static const struct {
		const char *text;
		int result;
	} cases[] = {
		{ "{\"imageLayoutVersion\":\"1.0.0\"}", 0 },
		{ "{\"imageLayoutVersion\":\"1.1.0\"}", 0 },
		{ "{\"imageLayoutVersion\":\"2.0.0\"}", -ENOTSUP },
		{ "{\"imageLayoutVersion\":1}", -EINVAL },
		{ "{}", -ENOTSUP },
		{ "[]", -EINVAL },
		{ "", -EINVAL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct span text = exact(cases[i].text);

		ok(image_layout_check(text, error) == cases[i].result,
		   "oci-layout %s", cases[i].text);
		exact_free(text);
	}
}

/* ----------------------------------------------------------------- index */

#define ENTRY(digest, rest)                                               \
	"{\"mediaType\":\"" OCI "manifest.v1+json\",\"digest\":\"" digest \
	"\",\"size\":10" rest "}"
#define PLATFORM(os, arch) \
	",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}"
#define TAG(tag) \
	",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" tag "\"}"
#define INDEX(entries) "{\"schemaVersion\":2,\"manifests\":[" entries "]}"

static const struct image_platform amd64 = { "linux", "amd64", "" };
static const struct image_platform arm64 = { "linux", "arm64", "v8" };

static const struct {
	const char *name, *text, *tag;
	const struct image_platform *own;
	int result; /* position or error */
} picks[] = {
	{ "one for each platform: the first",
	  INDEX(ENTRY(A, PLATFORM("linux", "amd64")) "," ENTRY(
		  B, PLATFORM("linux", "arm64"))),
	  "", &amd64, 0 },
	{ "one for each platform: the second",
	  INDEX(ENTRY(A, PLATFORM("linux", "amd64")) "," ENTRY(
		  B, PLATFORM("linux", "arm64"))),
	  "", &arm64, 1 },
	{ "none for this platform",
	  INDEX(ENTRY(A, PLATFORM("linux", "s390x")) "," ENTRY(
		  B, PLATFORM("windows", "amd64"))),
	  "", &amd64, -ENOENT },
	{ "an attestation beside it",
	  INDEX(ENTRY(A, PLATFORM("unknown", "unknown")) "," ENTRY(
		  B, PLATFORM("linux", "amd64"))),
	  "", &amd64, 1 },
	{ "a stated platform is preferred",
	  INDEX(ENTRY(A, "") "," ENTRY(B, PLATFORM("linux", "amd64"))), "",
	  &amd64, 1 },
	{ "another variant",
	  INDEX(ENTRY(
		  A,
		  ",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\","
		  "\"variant\":\"v9\"}")),
	  "", &arm64, -ENOENT },
	{ "by tag", INDEX(ENTRY(A, TAG("v1")) "," ENTRY(B, TAG("v2"))), "v2",
	  &amd64, 1 },
	{ "latest of several tags",
	  INDEX(ENTRY(A, TAG("v1")) "," ENTRY(B, TAG("latest"))), "", &amd64,
	  1 },
	{ "several tags and none named",
	  INDEX(ENTRY(A, TAG("v1")) "," ENTRY(B, TAG("v2"))), "", &amd64,
	  -EINVAL },
	{ "an unknown media type is passed over",
	  INDEX("{\"mediaType\":\"text/plain\",\"digest\":7}," ENTRY(B, "")),
	  "", &amd64, 0 },
	{ "null for what is absent",
	  INDEX(ENTRY(A, ",\"platform\":null,\"annotations\":null")), "",
	  &amd64, 0 },
	{ "empty", INDEX(""), "", &amd64, -ENOENT },
};

static void test_picks(void)
{
	struct image_index *index = malloc(sizeof(*index));

	for (size_t i = 0; i < sizeof(picks) / sizeof(*picks); i++) {
		struct span text = exact(picks[i].text);
		int r = image_index_parse(text, index, error);

		if (r == 0)
			r = image_index_pick(index, picks[i].tag, picks[i].own,
					     error);
		ok(r == picks[i].result, "%s: %d", picks[i].name, r);
		exact_free(text);
	}
	free(index);
}

/* -------------------------------------------------------------- mistakes */

#define CONFIG                                                                \
	"\"config\":{\"mediaType\":\"" OCI "config.v1+json\",\"digest\":\"" A \
	"\",\"size\":2}"
#define LAYER(media, digest, size)                          \
	"{\"mediaType\":\"" media "\",\"digest\":\"" digest \
	"\",\"size\":" size "}"
#define MANIFEST(config, layers) \
	"{\"schemaVersion\":2," config ",\"layers\":[" layers "]}"
#define GZIP OCI "layer.v1.tar+gzip"

static int parse_index(struct span text)
{
	struct image_index *index = malloc(sizeof(*index));
	int r = image_index_parse(text, index, error);

	free(index);
	return r;
}

static int parse_manifest(struct span text)
{
	struct image_manifest *m = malloc(sizeof(*m));
	int r = image_manifest_parse(text, m, error);

	free(m);
	return r;
}

static int parse_config(struct span text)
{
	struct image_config *c = malloc(sizeof(*c));
	int r = image_config_parse(text, c, error);

	image_config_free(c);
	free(c);
	return r;
}

#define CONFIG_OF(config, diff_ids)                                       \
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":" config \
	",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" diff_ids "]}}"
#define ID "\"" A "\""

static const struct {
	const char *name;
	int (*parse)(struct span text);
	const char *text;
	int result;
	const char *line; /* part of the error */
} mistakes[] = {
	{ "index: cut off", parse_index, "{\"manifests\":[", -EINVAL,
	  "image index: byte 14" },
	{ "index: no list", parse_index, "{}", -EINVAL,
	  "image index: manifests: missing" },
	{ "index: no digest", parse_index,
	  INDEX("{\"mediaType\":\"" OCI "manifest.v1+json\",\"size\":1}"),
	  -EINVAL, "manifests[0]: digest: want" },
	{ "index: a path as digest", parse_index,
	  INDEX(ENTRY("sha256:../../../etc/passwd", "")), -EINVAL,
	  "manifests[0]: digest: want" },
	{ "index: sha512", parse_index, INDEX(ENTRY("sha512:" D64("aaaa"), "")),
	  -ENOTSUP, "only sha256" },
	{ "index: negative size", parse_index,
	  INDEX(LAYER(OCI "manifest.v1+json", A, "-1")), -EINVAL,
	  "manifests[0]: size" },
	{ "index: a manifest of 1 GB", parse_index,
	  INDEX(LAYER(OCI "manifest.v1+json", A, "1000000000")), -E2BIG,
	  "over the limit" },
	{ "index: a NUL byte in the tag", parse_index,
	  INDEX(ENTRY(A, TAG("a\\u0000b"))), -EINVAL, "without NUL" },
	{ "index: an entry that is no object", parse_index, INDEX("7"), -EINVAL,
	  "manifests[0]: want an object" },
	{ "manifest: a file system on top", parse_manifest, "[]", -EINVAL,
	  "want a JSON object" },
	{ "manifest: schema 1", parse_manifest, "{\"schemaVersion\":1}",
	  -ENOTSUP, "schemaVersion: want 2" },
	{ "manifest: no config", parse_manifest,
	  "{\"schemaVersion\":2,\"layers\":[]}", -EINVAL, "config: want" },
	{ "manifest: an artifact", parse_manifest,
	  "{\"schemaVersion\":2,\"config\":" LAYER(
		  "application/vnd.oci.empty.v1+json", A, "2") "}",
	  -ENOTSUP, "not the config of a container image" },
	{ "manifest: no layers", parse_manifest, MANIFEST(CONFIG, ""), -EINVAL,
	  "layers: want at least one" },
	{ "manifest: an unknown layer", parse_manifest,
	  MANIFEST(CONFIG, LAYER(GZIP, A, "1") "," LAYER("a/b", B, "1")),
	  -ENOTSUP, "layers[1]: mediaType" },
	{ "manifest: a layer of 1 TB", parse_manifest,
	  MANIFEST(CONFIG, LAYER(GZIP, A, "1000000000000")), -E2BIG,
	  "layers[0]: size" },
	{ "manifest: a size beyond 64 bits", parse_manifest,
	  MANIFEST(CONFIG, LAYER(GZIP, A, "99999999999999999999")), -EINVAL,
	  "layers[0]: size" },
	{ "config: for nothing", parse_config,
	  "{\"os\":\"linux\",\"rootfs\":{\"diff_ids\":[" ID "]}}", -EINVAL,
	  "architecture: missing" },
	{ "config: good without a config", parse_config, CONFIG_OF("null", ID),
	  0, "" },
	{ "config: no diff_ids", parse_config, CONFIG_OF("{}", ""), -EINVAL,
	  "rootfs.diff_ids: want at least one" },
	{ "config: a bad diff_id", parse_config,
	  CONFIG_OF("{}", ID ",\"sha256:0\""), -EINVAL, "[1]: want" },
	{ "config: Cmd as a string", parse_config,
	  CONFIG_OF("{\"Cmd\":\"sh\"}", ID), -EINVAL, "Cmd: want an array" },
	{ "config: a number in Cmd", parse_config,
	  CONFIG_OF("{\"Cmd\":[\"a\",1]}", ID), -EINVAL, "[1]: want a string" },
	{ "config: NUL in an argument", parse_config,
	  CONFIG_OF("{\"Cmd\":[\"a\\u0000b\"]}", ID), -EINVAL, "without NUL" },
	{ "config: Env without =", parse_config,
	  CONFIG_OF("{\"Env\":[\"PATH\"]}", ID), -EINVAL, "NAME=value" },
	{ "config: Env without a name", parse_config,
	  CONFIG_OF("{\"Env\":[\"=x\"]}", ID), -EINVAL, "NAME=value" },
	{ "config: a relative directory", parse_config,
	  CONFIG_OF("{\"WorkingDir\":\"www\"}", ID), -EINVAL, "absolute" },
	{ "config: port 0", parse_config,
	  CONFIG_OF("{\"ExposedPorts\":{\"0/tcp\":{}}}", ID), -EINVAL,
	  "PORT/PROTOCOL" },
	{ "config: port 65536", parse_config,
	  CONFIG_OF("{\"ExposedPorts\":{\"65536\":{}}}", ID), -EINVAL,
	  "PORT/PROTOCOL" },
	{ "config: an unknown protocol", parse_config,
	  CONFIG_OF("{\"ExposedPorts\":{\"80/http\":{}}}", ID), -EINVAL,
	  "PORT/PROTOCOL" },
	{ "config: a relative volume", parse_config,
	  CONFIG_OF("{\"Volumes\":{\"../etc\":{}}}", ID), -EINVAL, "absolute" },
	{ "config: a label that is a number", parse_config,
	  CONFIG_OF("{\"Labels\":{\"a\":1}}", ID), -EINVAL, "Labels" },
	{ "config: all members null", parse_config,
	  CONFIG_OF("{\"Cmd\":null,\"Entrypoint\":null,\"Env\":null,"
		    "\"Volumes\":null,\"Labels\":null,\"ExposedPorts\":null}",
		    ID),
	  0, "" },
};

static void test_mistakes(void)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++) {
		struct span text = exact(mistakes[i].text);
		int r;

		error[0] = '\0';
		r = mistakes[i].parse(text);
		ok(r == mistakes[i].result && strstr(error, mistakes[i].line),
		   "%s: %d %s", mistakes[i].name, r, error);
		exact_free(text);
	}
}

/* A list one longer than the limit, of any element. */
static char *repeat(const char *head, const char *item, unsigned n,
		    const char *tail)
{
	size_t size = strlen(head) + n * (strlen(item) + 1) + strlen(tail) + 1;
	char *text = malloc(size), *p = text;

	p = stpcpy(p, head);
	for (unsigned i = 0; i < n; i++) {
		if (i)
			*p++ = ',';
		p = stpcpy(p, item);
	}
	stpcpy(p, tail);
	return text;
}

static void test_limits(void)
{
	static const struct {
		const char *name;
		int (*parse)(struct span text);
		const char *head, *item, *tail;
		unsigned max;
	} limits[] = {
		{ "index entries", parse_index, "{\"manifests\":[",
		  ENTRY(A, ""), "]}", IMAGE_INDEX_MAX },
		{ "layers", parse_manifest,
		  "{\"schemaVersion\":2," CONFIG ",\"layers\":[",
		  LAYER(GZIP, A, "1"), "]}", IMAGE_LAYERS_MAX },
		{ "diff_ids", parse_config,
		  "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{"
		  "\"diff_ids\":[",
		  ID, "]}}", IMAGE_LAYERS_MAX },
		{ "arguments", parse_config,
		  "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{"
		  "\"diff_ids\":[" ID "]},\"config\":{\"Cmd\":[",
		  "\"x\"", "]}}", IMAGE_STRINGS_MAX },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		for (unsigned more = 0; more < 2; more++) {
			char *text = repeat(limits[i].head, limits[i].item,
					    limits[i].max + more,
					    limits[i].tail);
			struct span s = exact(text);

			ok(limits[i].parse(s) == (more ? -E2BIG : 0), "%u %s",
			   limits[i].max + more, limits[i].name);
			exact_free(s);
			free(text);
		}
	}
}

int main(void)
{
	test_real_index();
	test_real_manifest("umoci's manifest", umoci_manifest, 1085026);
	test_real_manifest("skopeo's Docker schema 2", skopeo_docker_manifest,
			   1085040);
	test_real_config();
	test_health();
	test_layout();
	test_picks();
	test_mistakes();
	test_limits();
	return tap_done();
}
