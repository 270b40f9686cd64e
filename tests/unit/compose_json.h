/* What a Compose file became, against JSON written by hand. */
#ifndef TEST_COMPOSE_JSON_H
#define TEST_COMPOSE_JSON_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static inline bool json_is(yyjson_mut_doc *doc, const char *want)
{
	char *text = yyjson_mut_write(doc, 0, NULL);
	yyjson_doc *a = text ? yyjson_read(text, strlen(text), 0) : NULL;
	yyjson_doc *b = yyjson_read(want, strlen(want), 0);
	bool same = a && b &&
		    yyjson_equals(yyjson_doc_get_root(a),
				  yyjson_doc_get_root(b));

	if (!same)
		printf("# got  %s\n# want %s\n", text ? text : "nothing", want);
	yyjson_doc_free(a);
	yyjson_doc_free(b);
	free(text);
	return same;
}

#endif
