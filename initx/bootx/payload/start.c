/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the declared entry to main: check the address, set the break, check the stack, report, run,
 * exit. The loader has put .data and .bss in place (they are part of the ELF file's segments).
 */
#include "payload.h"

#define PORT_DEBUG     0xe9
#define PORT_TEST_EXIT 0xf4
#define HEAP_LEN       65536
#define EXIT_ADDRESS   30 /* it does not run where it was linked */
#define EXIT_STACK     31
#define EXIT_INFO      32
#define MAILBOX_RESULT 0xf0000010ULL /* start result, then start stage */
#define MAILBOX_STAGE  0xf0000014ULL
#define STAGE_MAIN     15

extern char payload_link[];
static uint8_t heap[HEAP_LEN] __attribute__((aligned(4096)));
static uint64_t heap_break;
static struct payload_report report;

static void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

void payload_print(const char *text)
{
	while (*text)
		outb(PORT_DEBUG, (uint8_t)*text++);
}

void payload_exit(uint32_t status)
{
	__asm__ volatile("outl %0, %w1" ::"a"(status), "Nd"(PORT_TEST_EXIT));
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* Where this very code is, against where the linker put it. */
static int misplaced(void)
{
	uint64_t here, linked;

	__asm__ volatile("leaq payload_link(%%rip), %0; movabsq $payload_link, %1"
			 : "=r"(here), "=r"(linked));
	return here != linked;
}

static int on_stack(const struct bootx_info *info)
{
	uint64_t sp = (uint64_t)__builtin_frame_address(0);

	return sp >= info->stack_bottom && sp < info->stack_top;
}

static void mailbox(const struct bootx_info *info, uint64_t gpa, uint32_t v)
{
	*(volatile uint32_t *)(info->direct_map + gpa) = v;
}

void *payload_alloc(size_t len)
{
	uint64_t at = heap_break;

	len = (len + 15) & ~(size_t)15;
	if (len > report.heap_end - at)
		return NULL;
	heap_break += len;
	return (void *)at;
}

const struct payload_report *payload_get_report(void)
{
	return &report;
}

void payload_run(const struct bootx_info *info, payload_main_fn *main)
{
	if (misplaced()) {
		payload_print("payload: not at the address it was linked for\n");
		payload_exit(EXIT_ADDRESS);
	}
	if (info->magic != BOOTX_INFO_MAGIC || info->version != BOOTX_INFO_VERSION)
		payload_exit(EXIT_INFO);
	heap_break = (uint64_t)heap;
	if (!on_stack(info)) {
		payload_print("payload: not on the stack it was given\n");
		payload_exit(EXIT_STACK);
	}
	report = (struct payload_report){ .stack_bottom = info->stack_bottom,
					  .stack_top = info->stack_top,
					  .heap_start = (uint64_t)heap,
					  .heap_end = (uint64_t)heap + HEAP_LEN };
	mailbox(info, MAILBOX_RESULT, 0);
	mailbox(info, MAILBOX_STAGE, STAGE_MAIN);
	payload_exit((uint32_t)main(info));
}
