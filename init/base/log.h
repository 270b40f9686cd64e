/* Log lines of every program: one line per operator-visible event.
 *
 * Rule of use: log_open() once in main; then the function nearest a failure
 * calls log_error() once, naming the object, and passes -errno up.
 *
 * A line is written with one write(2) to descriptor 2, so lines of several
 * processes that share a pipe never mix:
 *
 *	<6>znode: app web: running
 *
 * The "<level>" prefix (syslog(3) numbers, as kmsg uses) is only written when
 * the program runs as a service of init; zlog reads it from there. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
};

/* Sets the program name that starts every line; program must live for ever.
 * Makes no descriptor and cannot fail. */
void log_open(const char *program);

/* Writes one line "program: object: message", cut at 1,024 bytes; control
 * bytes are replaced by '?'. object may be NULL. errno is preserved. A full
 * non-blocking pipe drops the line and counts it; the count is reported in
 * the next line that fits. */
__attribute__((format(printf, 3, 4))) void log_line(enum log_level level,
						    const char *object,
						    const char *fmt, ...);

#define log_error(object, ...) log_line(LOG_LEVEL_ERROR, object, __VA_ARGS__)
#define log_warning(object, ...) \
	log_line(LOG_LEVEL_WARNING, object, __VA_ARGS__)
#define log_notice(object, ...) log_line(LOG_LEVEL_NOTICE, object, __VA_ARGS__)
#define log_info(object, ...)	log_line(LOG_LEVEL_INFO, object, __VA_ARGS__)

#endif
