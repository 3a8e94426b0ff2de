/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry of a 32-bit guest test: PVH (32-bit protected mode, paging off, EBX = start_info), flat
 * segments of its own, then guest_main32(). Trap entries, and the way to outer rings and
 * virtual-8086 mode and back.
 */
#define NOTE_PHYS32_ENTRY 18

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, NOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long pvh_start

	.section .text.start, "ax"
	.code32
	.globl pvh_start
pvh_start:
	cld
	lgdt gdt_ptr
	ljmp $0x08, $1f
1:	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	xorl %eax, %eax
	movw %ax, %fs
	movw %ax, %gs
	movl $boot_stack_top, %esp
	pushl %ebx
	xorl %ebp, %ebp
	call guest_main32
1:	hlt
	jmp 1b

#include "traps.inc"

trap_common:
	pusha
	pushl %ds
	pushl %es
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	cld
	pushl %esp
	call trap_dispatch
	addl $4, %esp
	popl %es
	popl %ds
	popa
	addl $8, %esp
	iret

/* uint32_t outer_enter(frame, n): IRET to the n values of frame, EIP first; a later
 * outer_leave(value) in a trap handler comes back here with that value. */
	.globl outer_enter, outer_leave
outer_enter:
	movl 4(%esp), %esi
	movl 8(%esp), %ecx
	pushl %ebx
	pushl %ebp
	pushl %edi
	pushl %ds
	pushl %es
	pushfl
	movl %esp, outer_saved_esp
1:	pushl -4(%esi, %ecx, 4)
	loop 1b
	iret
outer_leave:
	movl 4(%esp), %eax
	movl outer_saved_esp, %esp
	popfl
	popl %es
	popl %ds
	popl %edi
	popl %ebp
	popl %ebx
	ret

	.data
	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff /* 08 code */
	.quad 0x00cf93000000ffff /* 10 data */
	.quad 0x00cffb000000ffff /* 18 user code */
	.quad 0x00cff3000000ffff /* 20 user data */
	.skip 27 * 8
gdt_end:
gdt_ptr:
	.word gdt_end - gdt - 1
	.long gdt
outer_saved_esp:
	.long 0

	.bss
	.balign 16
	.skip 16384
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
