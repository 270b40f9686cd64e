/* config.json: linux.seccomp. Syscall names are not looked up here: a name
 * that the machine does not know is allowed to stand in a profile. */
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>

#include "runtime_parts.h"

static const char *const action_names[] = {
	"SCMP_ACT_KILL",  "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS",
	"SCMP_ACT_TRAP",  "SCMP_ACT_ERRNO",	  "SCMP_ACT_TRACE",
	"SCMP_ACT_ALLOW", "SCMP_ACT_LOG",	  "SCMP_ACT_NOTIFY",
};

static const uint32_t actions[] = {
	SECCOMP_RET_KILL_THREAD,  SECCOMP_RET_KILL_THREAD,
	SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP,
	SECCOMP_RET_ERRNO,	  SECCOMP_RET_TRACE,
	SECCOMP_RET_ALLOW,	  SECCOMP_RET_LOG,
	SECCOMP_RET_USER_NOTIF,
};

_Static_assert(N_OF(actions) == N_OF(action_names), "an action for each name");

static int at_action(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_u32 *action = out;
	int i = at_word(at, action_names, N_OF(action_names));

	if (i < 0)
		return at_error(in, at, "is no known action");
	*action = (struct maybe_u32){ true, actions[i] };
	return 0;
}

/* Puts the errno into the action's data; EPERM unless given. */
static int action_finish(struct json_read *in, const struct at *at,
			 struct maybe_u32 action, struct maybe_u32 err)
{
	bool takes = action.value == SECCOMP_RET_ERRNO ||
		     action.value == SECCOMP_RET_TRACE;

	if (!err.set)
		return takes ? EPERM : 0;
	if (!takes)
		return at_error(in, at,
				"an errno goes with SCMP_ACT_ERRNO "
				"and SCMP_ACT_TRACE only");
	if (err.value > SECCOMP_RET_DATA)
		return at_error(in, at, "the errno is above 65535");
	return (int)err.value;
}

static int at_compare(struct json_read *in, const struct at *at, void *out)
{
	/* In the order of libseccomp's enum scmp_compare. */
	static const char *const names[] = {
		"",
		"SCMP_CMP_NE",
		"SCMP_CMP_LT",
		"SCMP_CMP_LE",
		"SCMP_CMP_EQ",
		"SCMP_CMP_GE",
		"SCMP_CMP_GT",
		"SCMP_CMP_MASKED_EQ",
	};
	int i = at_word(at, names, N_OF(names));

	if (i < 1)
		return at_error(in, at, "is no known comparison");
	*(uint32_t *)out = (uint32_t)i;
	return 0;
}

#define ARG(name) offsetof(struct runtime_seccomp_arg, name)

static int at_arg(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "index", at_u32, ARG(index) },
		{ "value", at_u64, ARG(value) },
		{ "valueTwo", at_u64, ARG(value_two) },
		{ "op", at_compare, ARG(op) },
	};
	struct runtime_seccomp_arg *arg = out;
	int r = at_object(in, at, fields, N_OF(fields), arg);

	if (r < 0)
		return r;
	if (arg->index > 5 || !arg->op)
		return at_error(in, at, "want op and an index of 0 to 5");
	return 0;
}

static int at_args(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_seccomp_rule *rule = out;

	return at_array(in, at, sizeof(*rule->arg), at_arg, &rule->arg,
			&rule->n_arg);
}

struct rule_text {
	struct runtime_seccomp_rule rule; /* first: at_args fills it */
	struct maybe_u32 action, err;
};

#define RULE(name) offsetof(struct rule_text, name)

/* The listener is sent by the process that the filter already holds for. */
static int check_notified(struct json_read *in, const struct at *at,
			  const struct text_list *names)
{
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->item[i], "sendmsg") == 0)
			return at_error(in, at,
					"sendmsg cannot be notified: it "
					"hands the listener over");
	}
	return 0;
}

static int at_rule(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "names", at_text_list, RULE(rule.names) },
		{ "action", at_action, RULE(action) },
		{ "errnoRet", at_maybe_u32, RULE(err) },
		{ "args", at_args, RULE(rule) },
	};
	struct runtime_seccomp_rule *rule = out;
	struct rule_text text = { 0 };
	int r = at_object(in, at, fields, N_OF(fields), &text);

	if (r < 0)
		return r;
	if (!text.rule.names.n || !text.action.set)
		return at_error(in, at, "want names and action");
	if (text.action.value == SECCOMP_RET_USER_NOTIF) {
		r = check_notified(in, at, &text.rule.names);
		if (r < 0)
			return r;
	}
	r = action_finish(in, at, text.action, text.err);
	if (r < 0)
		return r;
	*rule = text.rule;
	rule->action = text.action.value | (uint32_t)r;
	return 0;
}

static int at_rules(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_seccomp *seccomp = out;

	return at_array(in, at, sizeof(*seccomp->rule), at_rule, &seccomp->rule,
			&seccomp->n_rule);
}

enum { FLAG_WAIT_KILLABLE_RECV = 1 << 5 }; /* Linux 5.19 */

static int at_filter_flag(struct json_read *in, const struct at *at, void *out)
{
	static const char *const names[] = {
		"SECCOMP_FILTER_FLAG_TSYNC",
		"SECCOMP_FILTER_FLAG_LOG",
		"SECCOMP_FILTER_FLAG_SPEC_ALLOW",
		"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
	};
	static const uint32_t flags[] = {
		0, /* one thread: nothing to synchronise */
		SECCOMP_FILTER_FLAG_LOG,
		SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		FLAG_WAIT_KILLABLE_RECV,
	};
	int i = at_word(at, names, N_OF(names));

	if (i < 0)
		return at_error(in, at,
				"is not supported by this version of "
				"zrun");
	*(uint32_t *)out = flags[i];
	return 0;
}

static int at_filter_flags(struct json_read *in, const struct at *at, void *out)
{
	struct u32_list list = { 0 };
	uint32_t *flags = out;
	int r = at_array(in, at, sizeof(*list.item), at_filter_flag, &list.item,
			 &list.n);

	for (size_t i = 0; r == 0 && i < list.n; i++)
		*flags |= list.item[i];
	return r;
}

struct seccomp_text {
	struct runtime_seccomp seccomp; /* first: at_rules fills it */
	struct maybe_u32 action, err;
};

#define TEXT(name) offsetof(struct seccomp_text, name)

static int check_listener(struct json_read *in, const struct at *at,
			  struct seccomp_text *text)
{
	struct runtime_seccomp *s = &text->seccomp;
	bool path = s->listener_path && s->listener_path[0];

	/* Nobody could be told of the calls that hand the listener over. */
	if (text->action.value == SECCOMP_RET_USER_NOTIF)
		return at_error(in, at,
				"defaultAction cannot be SCMP_ACT_NOTIFY");
	for (size_t i = 0; i < s->n_rule; i++)
		s->notifies |= s->rule[i].action == SECCOMP_RET_USER_NOTIF;
	/* The kernel refuses it where there is nobody to wait for. */
	if (!s->notifies)
		s->flags &= ~(uint32_t)FLAG_WAIT_KILLABLE_RECV;
	if (s->notifies && !path)
		return at_error(in, at, "SCMP_ACT_NOTIFY needs listenerPath");
	if (s->listener_metadata && s->listener_metadata[0] && !path)
		return at_error(in, at, "listenerMetadata needs listenerPath");
	return 0;
}

int at_seccomp(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "defaultAction", at_action, TEXT(action) },
		{ "defaultErrnoRet", at_maybe_u32, TEXT(err) },
		{ "architectures", at_text_list, TEXT(seccomp.architectures) },
		{ "flags", at_filter_flags, TEXT(seccomp.flags) },
		{ "syscalls", at_rules, TEXT(seccomp) },
		{ "listenerPath", at_text, TEXT(seccomp.listener_path) },
		{ "listenerMetadata", at_text,
		  TEXT(seccomp.listener_metadata) },
	};
	struct seccomp_text text = { 0 };
	int r = at_object(in, at, fields, N_OF(fields), &text);

	if (r < 0)
		return r;
	if (!text.action.set)
		return at_error(in, at, "defaultAction is missing");
	r = check_listener(in, at, &text);
	if (r == 0)
		r = action_finish(in, at, text.action, text.err);
	if (r < 0)
		return r;
	text.seccomp.set = true;
	text.seccomp.default_action = text.action.value | (uint32_t)r;
	*(struct runtime_seccomp *)out = text.seccomp;
	return 0;
}
