/* node/trust.h: any bytes from zagent, or from a damaged disk, are refused
 * without a fault. */
#include <stddef.h>
#include <stdint.h>

#include "node/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t half = size ? data[0] * size / 256 : 0;
	struct offer offer = {
		.chain = { (const char *)data, half },
		.envelope = { (const char *)data + half, size - half },
	};
	const struct trust fresh = { 0 };
	char error[TRUST_ERROR_SIZE];
	struct desired desired;
	struct root root;

	if (trust_judge(&fresh, &offer, &root, &desired, error) == 0)
		desired_free(&desired);
	if (trust_reopen(&offer, &root, &desired, error) == 0)
		desired_free(&desired);
	return 0;
}
