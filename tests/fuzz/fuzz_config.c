/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a config.json, a process.json and a state.json. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "oci/config.h"
#include "oci/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct oci_config *config = NULL;
	struct oci_state state = { 0 };
	struct err err = { 0 };

	if (oci_config_parse(text, size, "config.json", &config, &err) == 0) {
		if (!config->process || !config->process->args.n || !config->root)
			abort();
		oci_config_free(config);
	} else if (!err.msg[0]) {
		abort();
	}
	config = NULL;
	if (oci_process_parse(text, size, "process.json", &config, NULL) == 0)
		oci_config_free(config);
	config = NULL;
	if (oci_resources_parse(text, size, "resources.json", &config, NULL) == 0)
		oci_config_free(config);
	if (oci_state_parse(text, size, &state, NULL) == 0)
		oci_state_done(&state);
	return 0;
}
