/* Starting the worker of the image store. */
#ifndef ZRUN_STORE_EXECUTE_H
#define ZRUN_STORE_EXECUTE_H

#include "image/store.h"

/* In a child: becomes zunpack (runtime/image/zunpack), which lies beside this
 * program. Where that fails, says so in the report and ends. */
_Noreturn void store_execute(const struct store *store,
			     const struct store_task *task, int report);

#endif
