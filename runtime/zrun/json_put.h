/* Members of JSON objects that zrun prints. yyjson's own calls are inlined
 * wherever they stand, 100 to 200 bytes each time; these are not. */
#ifndef ZRUN_JSON_PUT_H
#define ZRUN_JSON_PUT_H

#include <stdbool.h>
#include <stdint.h>

#include <yyjson.h>

/* Adds a member, of which name is not copied and must outlive doc. A value
 * that could not be made for want of memory is left out. */
void json_put(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name,
	      yyjson_mut_val *value);
/* The text is copied. */
void json_put_text(yyjson_mut_doc *doc, yyjson_mut_val *object,
		   const char *name, const char *text);
void json_put_number(yyjson_mut_doc *doc, yyjson_mut_val *object,
		     const char *name, uint64_t number);
void json_put_bool(yyjson_mut_doc *doc, yyjson_mut_val *object,
		   const char *name, bool value);
/* A number as somebody else wrote it, copied. */
void json_put_decimal(yyjson_mut_doc *doc, yyjson_mut_val *object,
		      const char *name, const char *digits);

/* Adds an empty object or array and returns it. */
yyjson_mut_val *json_put_object(yyjson_mut_doc *doc, yyjson_mut_val *object,
				const char *name);
yyjson_mut_val *json_put_array(yyjson_mut_doc *doc, yyjson_mut_val *object,
			       const char *name);
/* Adds a text to an array; it is copied. */
void json_append_text(yyjson_mut_doc *doc, yyjson_mut_val *array,
		      const char *text);

/* json_real.c: what the JSON parser calls for a number that is no integer; it
 * is as if it were 0. */
double json_real_pass(const char *text, char **end);

#endif
