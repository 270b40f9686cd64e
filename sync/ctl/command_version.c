#include <yyjson.h>

#include "ctl.h"
#include "show.h"
#include "version.h"

int command_version(struct ctl *ctl)
{
	yyjson_mut_doc *doc;
	int code;

	if (!ctl->json) {
		printf("zctl %s\n", ZOOID_VERSION);
		return EXIT_DONE;
	}
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	yyjson_mut_obj_add_str(doc, yyjson_mut_doc_get_root(doc), "version",
			       ZOOID_VERSION);
	code = show_json_mut(doc);
	yyjson_mut_doc_free(doc);
	return code;
}
