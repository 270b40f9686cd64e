#include "seccomp_filter.h"

#include "seccomp_default.h"

struct sock_fprog seccomp_default(void)
{
	/* The kernel's struct is for both directions; it only reads. */
	return (struct sock_fprog){
		.len = sizeof(seccomp_default_code) /
		       sizeof(seccomp_default_code[0]),
		.filter = (struct sock_filter *)seccomp_default_code,
	};
}
