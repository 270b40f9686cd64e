/* FACTS of sync(5): what kind of machine this is. */
#ifndef AGENT_FACTS_H
#define AGENT_FACTS_H

#include <yyjson.h>

/* Reads what never changes and opens what does; before confinement. */
void facts_open(void);

const char *facts_board(void);
/* As OCI spells it: amd64, arm64. */
const char *facts_arch(void);

/* What is no counter, for it alone makes a report worth sending. */
void facts_add(yyjson_mut_doc *doc, yyjson_mut_val *to);
/* Memory left and the time since the kernel started. */
void facts_add_counters(yyjson_mut_doc *doc, yyjson_mut_val *to);

#endif
