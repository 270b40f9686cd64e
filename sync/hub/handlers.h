/* The handlers of api.c's table, by the file that has them. */
#ifndef HUB_HANDLERS_H
#define HUB_HANDLERS_H

struct api_call;

/* enrol.c: how nodes come and stay */
void enrol_handle(struct api_call *call);
void renew_handle(struct api_call *call);
void time_handle(struct api_call *call);
void revoke_handle(struct api_call *call);

/* watch.c */
void desired_handle(struct api_call *call);

/* observe.c: what nodes tell, and where operators see it */
void acknowledged_handle(struct api_call *call);
void observed_handle(struct api_call *call);
void nodes_handle(struct api_call *call);
void ps_handle(struct api_call *call);

/* apply.c */
void apps_handle(struct api_call *call);
void app_handle(struct api_call *call);
void app_put_handle(struct api_call *call);
void app_delete_handle(struct api_call *call);

/* token.c */
void tokens_handle(struct api_call *call);
void token_make_handle(struct api_call *call);
void token_delete_handle(struct api_call *call);

/* events.c */
void events_handle(struct api_call *call);

/* registry_auth.c, registry_list.c */
void pull_token_handle(struct api_call *call);
void images_handle(struct api_call *call);

/* operator.c, status.c */
void operator_issue_handle(struct api_call *call);
void operator_revoke_handle(struct api_call *call);
void status_handle(struct api_call *call);

/* stream.c: logs, and later exec */
void logs_handle(struct api_call *call);
void devices_handle(struct api_call *call);
void wish_handle(struct api_call *call);

#endif
