/* The inner parts of an application: app.c has the states and what others
 * tell it, app_step.c what it does in each state. */
#ifndef NODE_APP_STEP_H
#define NODE_APP_STEP_H

#include "app.h"

/* The only place where a state is assigned. */
void app_set(struct app *app, enum znode_state state);

void step_absent(struct app *app);
void step_image(struct app *app);
void step_running(struct app *app);
void step_stopping(struct app *app);
void step_failed(struct app *app);

/* The instance ended: by wish, for good, or to be started again. */
void app_ended(struct app *app);
/* Whether the next attempt is not due yet. */
bool app_is_waiting(const struct app *app);

/* Has app->image filled, or gives -errno with a reason in app->reason. */
int app_image_find(struct app *app);
void app_image_drop(struct app *app);

#endif
