/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bootx's first steps: 32-bit protected mode, paging off, anywhere in memory at a multiple of 2 MiB; to
 * 64-bit code in the high mappings. EBP holds the physical address of the image throughout.
 */
#define MB1_MAGIC	  0x1badb002
#define MB1_FLAGS	  0x00010002 /* memory map wanted, addresses in the header */
#define MB2_MAGIC	  0xe85250d6
#define NOTE_PHYS32_ENTRY 18
#define MSR_EFER	  0xc0000080
#define EFER_LME_NXE	  0x900
#define CR0_SET		  0x80010003 /* PG WP MP PE */
#define CR0_CLEAR	  0x6000000c /* CD NW TS EM */
#define CR4_SET		  0x620      /* PAE OSFXSR OSXMMEXCPT */
#define NX_HIGH		  0x80000000
#define PORT_DEBUG	  0xe9
#define PORT_COM1	  0x3f8
#define PORT_TEST_EXIT	  0xf4
#define EXIT_REFUSED	  20

/* Where the segments are linked, as in link.ld. */
#define LINK_BOOT	  0x400000
#define HIGH_MINUS	  0x40000000 /* 2^64 - HIGH_BASE */

/* Offset of a boot symbol, of a high symbol, from the image's start. */
#define LOW(sym)  (sym - LINK_BOOT)
#define HIGH(sym) (sym + HIGH_MINUS)

	.section .boot.header, "a"
	.balign 8
mb1_header:
	.long MB1_MAGIC, MB1_FLAGS, -(MB1_MAGIC + MB1_FLAGS)
	.long mb1_header, boot_start, LOAD_END, BSS_END, entry_multiboot

	.balign 8
mb2_header:
	.long MB2_MAGIC, 0, mb2_end - mb2_header, -(MB2_MAGIC + (mb2_end - mb2_header))
	.balign 8
1:	.short 6, 0 /* modules on page boundaries */
	.long 8
	.balign 8
	.short 1, 1 /* wanted, not required: command line, modules, memory map, both RSDPs */
	.long 8 + 5 * 4
	.long 1, 3, 6, 14, 15
	.balign 8
	.short 10, 1 /* relocatable: anywhere below 4 GiB, 2 MiB-aligned */
	.long 24
	.long 0x200000, 0xffffffff, 0x200000, 0
	.balign 8
	.short 0, 0
	.long 8
mb2_end:

	.section .note.xen, "a", @note
	.balign 4
	.long 4, 4, NOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long entry_pvh

	.section .boot.text, "awx"
	.code32
	.globl entry_multiboot, entry_pvh
entry_multiboot:
	movl %eax, %edi
	jmp 1f
entry_pvh:
	movl (%ebx), %edi
1:	cli
	cld
	movl %ebx, %esi
	/* Where are we? A call needs a stack: eight bytes into the loader's information, put back after. */
	movl 4(%esi), %edx
	leal 8(%esi), %esp
	call 2f
2:	popl %ebp
	movl %edx, 4(%esi)
	subl $LOW(2b), %ebp
	leal LOW(boot_stack_top)(%ebp), %esp
	testl $0x1fffff, %ebp
	jz 3f
	leal LOW(text_misplaced)(%ebp), %edx
	jmp refuse
3:	call check_cpu
	/* The few absolute operands. */
	leal LOW(boot_gdt)(%ebp), %eax
	movl %eax, LOW(boot_gdt_ptr + 2)(%ebp)
	leal LOW(long_start)(%ebp), %eax
	movl %eax, LOW(far_jump + 1)(%ebp)
	lgdt LOW(boot_gdt_ptr)(%ebp)
	call make_tables
	movl %cr4, %eax
	orl $CR4_SET, %eax
	movl %eax, %cr4
	leal HIGH(table_l4)(%ebp), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME_NXE, %eax
	wrmsr
	movl %cr0, %eax
	andl $~CR0_CLEAR, %eax
	orl $CR0_SET, %eax
	movl %eax, %cr0
far_jump:
	.byte 0xea
	.long 0
	.word 0x08

/* Long mode and NX are there, or the machine is refused. */
check_cpu:
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb 1f
	movl $0x80000001, %eax
	cpuid
	andl $0x20100000, %edx
	cmpl $0x20100000, %edx
	jne 1f
	ret
1:	leal LOW(text_old_cpu)(%ebp), %edx
	jmp refuse

/* One entry: table %edi-relative. ENTRY table, index register or constant, value in EAX. */
	.macro link_table table, slot, to, rights
	leal HIGH(\to)(%ebp), %eax
	orl $\rights, %eax
	movl %eax, HIGH(\table) + 8 * (\slot)(%ebp)
	.endm

make_tables:
	pushl %edi
	pushl %esi
	link_table table_l4, 0, table_l3_low, 3
	link_table table_l4, 256, table_l3_dm, 3
	link_table table_l4, 511, table_l3_high, 3
	link_table table_l3_high, 511, table_l2_high, 3
	link_table table_l2_high, 0, table_l1_high, 3
	link_table table_l3_dm, 0, table_l2_dm, 3
	link_table table_l3_dm, 1, table_l2_dm + 0x1000, 3
	link_table table_l3_dm, 2, table_l2_dm + 0x2000, 3
	link_table table_l3_dm, 3, table_l2_dm + 0x3000, 3
	/* The image one to one: one large page, readable and executable. */
	movl %ebp, %ecx
	shrl $30, %ecx
	leal HIGH(table_l2_low)(%ebp), %eax
	orl $3, %eax
	movl %eax, HIGH(table_l3_low)(%ebp, %ecx, 8)
	movl %ebp, %ecx
	shrl $21, %ecx
	andl $511, %ecx
	movl %ebp, %eax
	orl $0x81, %eax
	movl %eax, HIGH(table_l2_low)(%ebp, %ecx, 8)
	/* The first 4 GiB at the direct map: read, write, no execution. */
	xorl %ecx, %ecx
1:	movl %ecx, %eax
	shll $21, %eax
	orl $0x83, %eax
	movl %eax, HIGH(table_l2_dm)(%ebp, %ecx, 8)
	movl $NX_HIGH, HIGH(table_l2_dm) + 4(%ebp, %ecx, 8)
	incl %ecx
	cmpl $2048, %ecx
	jb 1b
	/* rx, ro, rw: page by page with their rights. */
	movl $HIGH(rx_start), %esi
	movl $N_RX_PAGES, %ecx
	movl $1, %edx
	xorl %edi, %edi
	call map_pages
	movl $HIGH(ro_start), %esi
	movl $N_RO_PAGES, %ecx
	movl $1, %edx
	movl $NX_HIGH, %edi
	call map_pages
	movl $HIGH(rw_start), %esi
	movl $N_RW_PAGES, %ecx
	movl $3, %edx
	movl $NX_HIGH, %edi
	call map_pages
	popl %esi
	popl %edi
	ret

/* ESI offset of the first page, ECX pages, EDX and EDI low and high rights. */
map_pages:
	testl %ecx, %ecx
	jz 2f
1:	leal (%ebp, %esi), %eax
	orl %edx, %eax
	movl %esi, %ebx
	shrl $12, %ebx
	movl %eax, HIGH(table_l1_high)(%ebp, %ebx, 8)
	movl %edi, HIGH(table_l1_high) + 4(%ebp, %ebx, 8)
	addl $0x1000, %esi
	decl %ecx
	jnz 1b
2:	ret

/* EDX: text. Says it on the debug port and the serial line, then ends the machine or halts. */
refuse:
	movl %edx, %esi
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, $PORT_DEBUG
	movw $PORT_COM1, %dx
	outb %al, %dx
	jmp 1b
2:	movl $EXIT_REFUSED, %eax
	outl %eax, $PORT_TEST_EXIT
3:	hlt
	jmp 3b

	.code64
long_start:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movabsq $stack_top, %rsp
	movl %edi, %edi
	movl %esi, %esi
	movl %ebp, %edx
	xorl %ebp, %ebp
	movabsq $bootx_main, %rax
	pushq $0
	jmpq *%rax

/*
 * void leave_to_32(uint32_t entry, uint32_t ebx): back to 32-bit protected mode without paging. Called
 * at its address one to one. EDI, ESI.
 */
	.globl leave_to_32
leave_to_32:
	cli
	movl %esi, %ebx
	leaq 1f(%rip), %rax
	pushq $0x18
	pushq %rax
	lretq
	.code32
1:	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movl %cr0, %eax
	andl $0x7fffffff, %eax
	movl %eax, %cr0
	movl $MSR_EFER, %ecx
	rdmsr
	andl $~EFER_LME_NXE, %eax
	wrmsr
	movl %cr4, %eax
	andl $~CR4_SET, %eax
	movl %eax, %cr4
	xorl %eax, %eax
	jmp *%edi

	.section .boot.data, "aw"
	.balign 16
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* 08 code 64 */
	.quad 0x00cf93000000ffff /* 10 data */
	.quad 0x00cf9b000000ffff /* 18 code 32 */
boot_gdt_end:
boot_gdt_ptr:
	.word boot_gdt_end - boot_gdt - 1
	.long 0
text_misplaced:
	.asciz "bootx: refused: it is not at a multiple of 2 MiB\n"
text_old_cpu:
	.asciz "bootx: refused: the CPU has no long mode or no NX\n"
	.balign 16
	.skip 256
boot_stack_top:

	.bss
	.balign 4096
	.globl table_l4, table_l3_low, stack_bottom, stack_top
table_l4:	.skip 4096
table_l3_low:	.skip 4096
table_l2_low:	.skip 4096
table_l3_high:	.skip 4096
table_l2_high:	.skip 4096
table_l1_high:	.skip 4096
table_l3_dm:	.skip 4096
table_l2_dm:	.skip 4 * 4096
stack_bottom:	.skip 32768
stack_top:

/* ---- faults: one entry a vector, a common frame, fault() ---- */
	.text
	.code64
	.macro fault_entry vec
	.balign 16
	.if \vec == 8 || (\vec >= 10 && \vec <= 14) || \vec == 17 || \vec == 21
	.else
	pushq $0
	.endif
	pushq $\vec
	jmp fault_common
	.endm

	.balign 16
	.globl fault_entries
fault_entries:
	.set v, 0
	.rept 32
	fault_entry v
	.set v, v + 1
	.endr

fault_common:
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
	andq $-16, %rsp
	call fault

/* void enter_payload(entry, info, stack_top): never returns. */
	.globl enter_payload
enter_payload:
	movq %rdx, %rsp
	movq %rdi, %rax
	movq %rsi, %rdi
	xorl %ebp, %ebp
	pushq $0
	jmpq *%rax

/* void enter_linux(entry, boot_params): flat segments as the boot protocol wants, interrupts off. */
	.globl enter_linux
enter_linux:
	movq %rdi, %rax
	jmpq *%rax

	.section .note.GNU-stack, "", @progbits
