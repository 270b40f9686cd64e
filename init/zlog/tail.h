/* zlog.sock: who may, reads the last lines of a source and those that come. */
#ifndef ZLOG_TAIL_H
#define ZLOG_TAIL_H

#include "base/loop.h"
#include "source.h"

/* Answers on the listening socket. 0 or -errno. */
int tail_init(struct loop *loop, int listen_fd);

/* s has new lines: who follows it gets them. */
void tail_grown(struct source *s);

/* Lines of s were dropped: who watches for that is told. */
void tail_dropped(struct source *s);

/* `zlog tail [-n LINES] [-f] [--since TIME] NAME`: asks the running zlog and
 * prints. Returns an exit code. */
int tail_print(int argc, char **argv);

#endif
