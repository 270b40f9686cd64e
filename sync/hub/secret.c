#include "secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/fd.h"
#include "store.h"
#include "wire/seal.h"

enum { PUBLIC_TEXT_SIZE = (CERT_PUBLIC_SIZE + 2) / 3 * 4 + 1 };

static void store_key(const char *node, char key[96])
{
	snprintf(key, 96, "public/%s", node);
}

int secret_node_key(struct hub *hub, const char *node,
		    const struct cert_public *public)
{
	char key[96], text[PUBLIC_TEXT_SIZE];
	autofree char *old = NULL;

	store_key(node, key);
	base64url_encode(public->der, sizeof(public->der), text);
	if (store_get(hub->store, key, &old, NULL, NULL) == 0 &&
	    !strcmp(old, text))
		return 0;
	return store_put(hub->store, key, span_of(text), STORE_ANY, NULL);
}

static int public_read(struct hub *hub, const char *node,
		       struct cert_public *public)
{
	autofree char *text = NULL;
	char key[96];
	int err;

	store_key(node, key);
	err = store_get(hub->store, key, &text, NULL, NULL);
	if (err < 0)
		return err;
	return base64_decode(span_of(text), public->der, sizeof(public->der)) ==
			       CERT_PUBLIC_SIZE
		       ? 0
		       : -EBADMSG;
}

/* What becomes of one content: a text that the caller frees, or NULL. */
struct reseal {
	struct hub *hub;
	const struct cert_public *to; /* NULL: nobody */
	bool is_sealed;		      /* to this hub */
};

static char *sealed_anew(const struct reseal *r, struct span content)
{
	char *plain = NULL, *text = NULL;
	size_t size;

	if (!r->to)
		return NULL;
	if (!r->is_sealed) {
		seal(r->to, r->hub->ca.key, content, &text);
	} else if (unseal(r->hub->ca.key, content, &plain, &size) == 0) {
		seal(r->to, r->hub->ca.key, (struct span){ plain, size },
		     &text);
		explicit_bzero(plain, size);
	}
	free(plain);
	return text;
}

static void each_secret(const struct reseal *r, yyjson_mut_doc *doc,
			yyjson_mut_val *app)
{
	yyjson_mut_val *mounts = yyjson_mut_obj_get(app, "mounts"), *m, *v;
	yyjson_mut_arr_iter iter;

	yyjson_mut_arr_iter_init(mounts, &iter);
	while ((m = yyjson_mut_arr_iter_next(&iter))) {
		if (!yyjson_mut_equals_str(yyjson_mut_obj_get(m, "type"),
					   "secret"))
			continue;
		v = yyjson_mut_obj_get(m, "content");
		autofree char *text =
			sealed_anew(r, (struct span){ yyjson_mut_get_str(v),
						      yyjson_mut_get_len(v) });

		yyjson_mut_obj_remove_key(m, "content");
		yyjson_mut_obj_add_strcpy(doc, m, "content", text ? text : "");
	}
}

void secrets_keep(struct hub *hub, yyjson_mut_doc *doc, yyjson_mut_val *app)
{
	struct cert_public own;

	cert_key_public(hub->ca.key, &own);
	each_secret(&(struct reseal){ hub, &own, false }, doc, app);
}

void secrets_give(struct hub *hub, const char *node, yyjson_mut_doc *doc,
		  yyjson_mut_val *app)
{
	struct cert_public public;
	bool known = public_read(hub, node, &public) == 0;

	each_secret(&(struct reseal){ hub, known ? &public : NULL, true }, doc,
		    app);
}
