#include "json_put.h"

void json_put(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name,
	      yyjson_mut_val *value)
{
	yyjson_mut_obj_add(object, yyjson_mut_str(doc, name), value);
}

void json_put_text(yyjson_mut_doc *doc, yyjson_mut_val *object,
		   const char *name, const char *text)
{
	json_put(doc, object, name, yyjson_mut_strcpy(doc, text));
}

void json_put_number(yyjson_mut_doc *doc, yyjson_mut_val *object,
		     const char *name, uint64_t number)
{
	json_put(doc, object, name, yyjson_mut_uint(doc, number));
}

void json_put_bool(yyjson_mut_doc *doc, yyjson_mut_val *object,
		   const char *name, bool value)
{
	json_put(doc, object, name, yyjson_mut_bool(doc, value));
}

void json_put_decimal(yyjson_mut_doc *doc, yyjson_mut_val *object,
		      const char *name, const char *digits)
{
	json_put(doc, object, name, yyjson_mut_rawcpy(doc, digits));
}

yyjson_mut_val *json_put_object(yyjson_mut_doc *doc, yyjson_mut_val *object,
				const char *name)
{
	yyjson_mut_val *made = yyjson_mut_obj(doc);

	json_put(doc, object, name, made);
	return made;
}

yyjson_mut_val *json_put_array(yyjson_mut_doc *doc, yyjson_mut_val *object,
			       const char *name)
{
	yyjson_mut_val *made = yyjson_mut_arr(doc);

	json_put(doc, object, name, made);
	return made;
}

void json_append_text(yyjson_mut_doc *doc, yyjson_mut_val *array,
		      const char *text)
{
	yyjson_mut_arr_append(array, yyjson_mut_strcpy(doc, text));
}
