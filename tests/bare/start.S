/* Entry of a bare guest: Multiboot's 32-bit protected mode, paging off, on the first processor; and the way there for the others. */

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 3	/* page-aligned modules, memory information */
#define STACK_SIZE 0x4000
#define MAX_CPUS 16

.macro load_segments
	mov $16, %cx
	mov %cx, %ds
	mov %cx, %es
	mov %cx, %ss
	mov %cx, %fs
	mov %cx, %gs
.endm

	.section .multiboot, "a"
	.align 4
	.long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.globl start
start:
	lgdt gdt_pointer
	ljmp $8, $1f
1:	load_segments
	mov $stacks + STACK_SIZE, %esp
	push %ebx		/* the Multiboot information */
	push %eax		/* its magic number */
	call setup
	push $0
	push %eax
	call main
	push %eax
	call exit

/* The page that a start-up IPI names: copied to 0x8000 by start_cpus. It runs in real mode with CS = 0x800. */
	.globl trampoline, trampoline_end
	.code16
trampoline:
	cli
	xor %ax, %ax
	mov %ax, %ds
	lgdtl 0x8000 + trampoline_gdt - trampoline
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $8, $ap_start
	.align 4
trampoline_gdt:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:

	.code32
ap_start:
	load_segments
	lidt idt_pointer
	mov $1, %eax
	lock xadd %eax, ap_number	/* 1, 2, ... in the order of arrival */
	imul $STACK_SIZE, %eax, %ecx
	lea stacks + STACK_SIZE(%ecx), %esp
	push %eax
	call ap_main
1:	cli
	hlt
	jmp 1b

/* One entry for each vector: its number, and where the processor pushed no error code a 0 in its place. */
	.globl vector_table
	.section .rodata
vector_table:
	.set i, 0
	.rept 256
	.long vector_entry + i * 16
	.set i, i + 1
	.endr
	.text
	.align 16
vector_entry:
	.set i, 0
	.rept 256
	.align 16
	.if i == 8 || (i >= 10 && i <= 14) || i == 17 || i == 21
	nop
	.else
	push $0
	.endif
	push $i
	jmp common
	.set i, i + 1
	.endr
common:
	pusha
	push %esp		/* struct frame */
	cld
	call dispatch
	add $4, %esp
	popa
	add $8, %esp
	iret

	.data
	.align 8
gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
	.globl ap_number
	.align 4
ap_number: .long 1

	.bss
	.align 16
stacks:	.skip STACK_SIZE * MAX_CPUS
	.section .note.GNU-stack, "", @progbits
