/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on the debug port and the first serial line, and the end. */
#include <stdarg.h>

#include "internal.h"

#define PORT_DEBUG	0xe9
#define PORT_COM1	0x3f8
#define PORT_LSR	(PORT_COM1 + 5)
#define LSR_THRE	0x20
#define LSR_ABSENT	0xff
#define SERIAL_PATIENCE 100000
#define PORT_TEST_EXIT	0xf4

static void out_char(char c)
{
	uint8_t lsr = inb(PORT_LSR);

	outb(PORT_DEBUG, (uint8_t)c);
	if (lsr == LSR_ABSENT)
		return;
	for (unsigned i = 0; i < SERIAL_PATIENCE && !(lsr & LSR_THRE); i++)
		lsr = inb(PORT_LSR);
	outb(PORT_COM1, (uint8_t)c);
}

static void out_number(uint64_t v, unsigned base)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while ((v /= base));
	while (n)
		out_char(digits[--n]);
}

static void out_vprintf(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			out_char(*fmt);
			continue;
		}
		switch (*++fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				out_char(*s);
			break;
		case 'c': out_char((char)va_arg(ap, int)); break;
		case 'u': out_number(va_arg(ap, uint64_t), 10); break;
		case 'x':
			out_char('0');
			out_char('x');
			out_number(va_arg(ap, uint64_t), 16);
			break;
		default: out_char(*fmt); break;
		}
	}
}

void out_printf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	out_vprintf(fmt, ap);
	va_end(ap);
}

void machine_end(uint32_t status)
{
	outl(PORT_TEST_EXIT, status);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void refuse(const char *fmt, ...)
{
	va_list ap;

	out_printf("bootx: refused: ");
	va_start(ap, fmt);
	out_vprintf(fmt, ap);
	va_end(ap);
	out_char('\n');
	machine_end(BOOTX_EXIT_REFUSED);
}
