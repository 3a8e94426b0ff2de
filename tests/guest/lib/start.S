/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry of a guest test: PVH (32-bit protected mode, paging off, EBX = start_info), then long mode with
 * the low 4 GiB mapped one to one by 2 MiB pages, then guest_main(). Also the trap entries, the way into
 * ring 3 and back, and the real-mode start of secondary CPUs.
 */
#define NOTE_PHYS32_ENTRY 18
#define MSR_EFER	  0xc0000080

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
	movl $boot_stack_top, %esp
	movl %ebx, start_info
	/* page tables: PML4 -> PDPT -> four PDs of 2 MiB pages, present, writable */
	movl $boot_pdpt + 3, boot_pml4
	movl $boot_pd + 3, %eax
	movl $boot_pdpt, %edi
	movl $4, %ecx
1:	movl %eax, (%edi)
	addl $0x1000, %eax
	addl $8, %edi
	loop 1b
	movl $0x83, %eax
	movl $boot_pd, %edi
	movl $2048, %ecx
2:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 2b
	call enter_long_mode_32
	ljmp $0x08, $long_start

/* Paging and long mode on; returns in 32-bit compatibility code. Same path for every CPU. */
enter_long_mode_32:
	lgdt boot_gdt_ptr
	movl %cr4, %eax
	orl $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $0x901, %eax /* SCE, LME, NXE */
	wrmsr
	movl $0x80010033, %eax /* PG WP NE ET MP PE */
	movl %eax, %cr0
	ret

	.code64
long_start:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	xorl %eax, %eax
	movw %ax, %fs
	movw %ax, %gs
	movq $boot_stack_top, %rsp
	movl start_info, %edi
	xorl %ebp, %ebp
	call guest_main
1:	hlt
	jmp 1b

/* ---- secondary CPUs: copied to a page below 1 MiB, entered by SIPI in real mode ---- */
	.globl ap_start, ap_end
	.code16
ap_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %cs, %ax
	movzwl %ax, %ebx
	shll $4, %ebx
	leal (ap_gdt_ptr - ap_start)(%ebx), %eax
	movw %cs, %cx
	movw %cx, %ds
	lgdtl (ap_gdt_ptr - ap_start)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x18, $ap_start32
	.balign 8
ap_gdt_ptr:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt
ap_end:

	.code32
ap_start32:
	movw $0x10, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl ap_stack, %esp
	call enter_long_mode_32
	ljmp $0x08, $ap_long
	.code64
ap_long:
	movl ap_stack, %esp
	movl %esp, %esp
	xorl %ebp, %ebp
	call ap_main
1:	hlt
	jmp 1b

/* ---- traps: one entry a vector, a common frame (struct trap_frame), trap_dispatch() ---- */
#include "traps.inc"

trap_common:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, %rdi
	cld
	movq %rsp, %rbx
	andq $-16, %rsp
	call trap_dispatch
	movq %rbx, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rbx
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq

/* uint64_t user_enter(frame): IRET to frame[0..4] = rip cs rflags rsp ss; a later user_leave(value)
 * from a trap handler comes back here with that value. */
	.globl user_enter, user_leave
user_enter:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushfq
	movq %rsp, user_saved_rsp
	pushq 32(%rdi)
	pushq 24(%rdi)
	pushq 16(%rdi)
	pushq 8(%rdi)
	pushq 0(%rdi)
	iretq
user_leave:
	movq %rdi, %rax
	movq user_saved_rsp, %rsp
	movw $0x10, %cx
	movw %cx, %ss
	popfq
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/* SYSCALL lands here: record and leave ring 3. */
	.globl syscall_entry
syscall_entry:
	movq %rcx, syscall_seen
	movq %r11, syscall_seen + 8
	movq %rsp, syscall_seen + 16
	movq %rax, syscall_seen + 24
	movq $0x1000, %rdi
	jmp user_leave

	.data
	.balign 16
	.globl boot_gdt, boot_gdt_end
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* 08 code 64 */
	.quad 0x00cf93000000ffff /* 10 data */
	.quad 0x00cf9b000000ffff /* 18 code 32 */
boot_gdt_end:
boot_gdt_ptr:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt
	.long 0
	.globl start_info, ap_stack, user_saved_rsp, syscall_seen
start_info:
	.long 0
ap_stack:
	.long 0
user_saved_rsp:
	.quad 0
syscall_seen:
	.quad 0, 0, 0, 0

	.bss
	.balign 4096
	.globl boot_pml4, boot_pdpt, boot_pd
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
	.skip 16384
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
