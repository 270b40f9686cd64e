/* The inner parts of an application: app.c has the states and what others
 * tell it, app_step.c what it does in each state, app_image.c how its image
 * gets here. */
#ifndef NODE_APP_STEP_H
#define NODE_APP_STEP_H

#include "app.h"

/* The only place where a state is assigned. */
void app_set(struct app *app, enum znode_state state);

void step_absent(struct app *app);
void step_pulling(struct app *app);
void step_image(struct app *app);
void step_running(struct app *app);
void step_frozen(struct app *app);
void step_asleep(struct app *app);
void step_stopping(struct app *app);
void step_failed(struct app *app);

/* The instance ended: by wish, for good, or to be started again. */
void app_ended(struct app *app);
/* It failed for `text`, which may be app->reason itself; app->final was set by
 * the caller. */
void app_fail(struct app *app, const char *text);
/* How long it may take to end. */
uint32_t app_grace_ms(const struct app *app);
/* Whether it did so with 0. */
bool app_ended_well(const struct app *app);
/* Whether the next attempt is not due yet. */
bool app_is_waiting(const struct app *app);

/* `wait` spread by a quarter up and down. */
uint32_t app_jitter(uint32_t wait_ms);

/* Does what is next to get the image of what is wanted: 1 when it is here, 0
 * while it comes, -errno when that failed, with app->reason set and a next
 * attempt due, unless app->final. */
int app_image_need(struct app *app);
/* Forgets all about the image, and gives up fetching it. */
void app_image_drop(struct app *app);
/* The manifest of what is wanted: as found, or as the document names it. */
struct digest app_image_manifest(const struct app *app);
/* Manifest and config of what is wanted, to be freed with node_image_free()
 * and free(); NULL with *error set and a reason in app->reason. */
struct node_image *app_image_read(struct app *app, int *error);
/* The same of the instance that was started last, by its note. */
struct node_image *app_image_of_instance(struct app *app);

#endif
