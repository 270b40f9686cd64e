#define _GNU_SOURCE
#include "enrol_token.h"

#include <errno.h>
#include <yyjson.h>

#include "base64.h"

/* The tree of the largest token: 16 bytes a byte of JSON, and a page. */
enum {
	JSON_MAX = ENROL_TOKEN_SIZE_MAX / 4 * 3,
	TREE_SIZE = 16 * JSON_MAX + 4096,
};

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int pin_read(yyjson_val *v, uint8_t pin[ENROL_PIN_SIZE])
{
	const char *text = yyjson_get_str(v);

	if (yyjson_get_len(v) != 2 * ENROL_PIN_SIZE || !text)
		return -EINVAL;
	for (int i = 0; i < ENROL_PIN_SIZE; i++) {
		int high = hex_of(text[2 * i]), low = hex_of(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		pin[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* Printable ASCII without the space, at least one byte. */
static bool is_graphic(struct span s)
{
	for (size_t i = 0; i < s.size; i++)
		if (s.data[i] <= ' ' || s.data[i] >= 127)
			return false;
	return s.size > 0;
}

bool enrol_address_valid(struct span s)
{
	const char *colon = memrchr(s.data, ':', s.size);
	struct span port;
	uint64_t n;

	if (!colon || colon == s.data || s.size >= ENROL_ADDRESS_SIZE ||
	    !is_graphic(s))
		return false;
	port.data = colon + 1;
	port.size = (size_t)(s.data + s.size - port.data);
	return span_u64(port, UINT16_MAX, &n) == 0 && n > 0;
}

static struct span string_of(yyjson_val *v)
{
	return (struct span){ yyjson_get_str(v), yyjson_get_len(v) };
}

static int text_read(yyjson_val *v, char *out, size_t size)
{
	struct span s = string_of(v);

	if (!yyjson_is_str(v) || !is_graphic(s))
		return -EINVAL;
	return span_copy(out, size, s);
}

static int hubs_read(yyjson_val *list, struct enrol_token *token)
{
	yyjson_arr_iter iter;
	yyjson_val *v;

	if (!yyjson_arr_iter_init(list, &iter))
		return -EINVAL;
	while ((v = yyjson_arr_iter_next(&iter))) {
		if (token->n_hub == ENROL_HUBS_MAX || !yyjson_is_str(v) ||
		    !enrol_address_valid(string_of(v)))
			return -EINVAL;
		span_copy(token->hub[token->n_hub++], ENROL_ADDRESS_SIZE,
			  string_of(v));
	}
	return token->n_hub ? 0 : -EINVAL;
}

static int members_read(yyjson_val *root, struct enrol_token *token)
{
	if (hubs_read(yyjson_obj_get(root, "hub"), token) < 0 ||
	    pin_read(yyjson_obj_get(root, "pin"), token->pin) < 0 ||
	    text_read(yyjson_obj_get(root, "id"), token->id,
		      sizeof(token->id)) < 0)
		return -EINVAL;
	return text_read(yyjson_obj_get(root, "secret"), token->secret,
			 sizeof(token->secret));
}

int enrol_token_parse(struct span text, struct enrol_token *token)
{
	static const char prefix[] = "zooid1.";
	const size_t skip = sizeof(prefix) - 1;
	_Alignas(16) char tree[TREE_SIZE];
	char json[JSON_MAX];
	yyjson_alc alc;
	yyjson_doc *doc;
	ssize_t n;
	int err;

	memset(token, 0, sizeof(*token));
	if (text.size < skip || memcmp(text.data, prefix, skip) != 0)
		return -EINVAL;
	if (memchr(text.data, '=', text.size)) /* without padding */
		return -EINVAL;
	n = base64_decode((struct span){ text.data + skip, text.size - skip },
			  json, sizeof(json));
	if (n < 0)
		return -EINVAL;
	yyjson_alc_pool_init(&alc, tree, sizeof(tree));
	doc = yyjson_read_opts(json, (size_t)n, 0, &alc, NULL);
	err = members_read(yyjson_doc_get_root(doc), token);
	explicit_bzero(json, sizeof(json));
	explicit_bzero(tree, sizeof(tree));
	if (err < 0)
		memset(token, 0, sizeof(*token));
	return err < 0 ? -EINVAL : 0;
}
