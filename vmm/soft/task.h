/* SPDX-License-Identifier: Apache-2.0 */
/* Task switches of legacy protected mode. */
#ifndef SOFT_TASK_H
#define SOFT_TASK_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct desc;

enum task_reason { TASK_JMP, TASK_CALL, TASK_INT, TASK_IRET };

struct task_switch {
	enum task_reason reason;
	uint16_t sel; /* of the new TSS; for TASK_IRET the old one's back link */
	uint64_t rip; /* where the old task goes on, and its flags */
	uint32_t flags;
	bool ext; /* EXT bit of error codes */
};

/**
 * task_switch() - Go to another task
 *
 * Context: legacy protected mode, the vCPU's thread; flags are not lazy.
 * Return: false with an exception recorded: for the task that is then the present one.
 */
bool task_switch(struct cpu *cpu, const struct task_switch *t);

/* Whether a far jump or call to @d is a task switch: a TSS or task gate, outside long mode. */
bool task_is_target(const struct cpu *cpu, const struct desc *d);

/* Far jump or call to the selector @sel, which names @d. Return as task_switch(). */
bool task_far(struct cpu *cpu, uint16_t sel, const struct desc *d, bool call);

/* IRET with NT set: back to the task that called this one. Return as task_switch(). */
bool task_return(struct cpu *cpu);

#endif
