/*
 * Two faults of Bochs 3.1 as Debian builds it, found by looking, and repaired in the process that has them. A Bochs without them is left alone, and says
 * so; one whose code is not known is left alone, too.
 *
 * Loaded by LD_PRELOAD's way: the constructor runs before main. Both functions are exported by Bochs, because its plugins may want them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bochs's 128-bit number (cpu/wide_int.h). */
struct wide {
	uint64_t low;
	int64_t high;
};

typedef void divide(struct wide *quotient, int64_t *remainder, const struct wide *dividend, int64_t divisor);

static void right_divide(struct wide *quotient, int64_t *remainder, const struct wide *dividend, int64_t divisor)
{
	__int128 n = (__int128)(((unsigned __int128)(uint64_t)dividend->high << 64) | dividend->low);
	__int128 q = n / divisor;
	*remainder = (int64_t)(n % divisor);
	quotient->low = (uint64_t)q;
	quotient->high = (int64_t)(q >> 64);
}

/* divides says whether a division gives what it should, for each pair of signs. */
static int divides(divide *f)
{
	static const int64_t cases[][3] = { /* high and low half of the dividend, divisor */
		{ 0, 1000, 7 }, { -1, -1000, 7 }, { 0, 1000, -7 }, { -1, -1000, -7 }, { 3, 5, 1000003 },
	};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wide n = { (uint64_t)cases[i][1], cases[i][0] }, want, got = { 0, 0 };
		int64_t want_rest, rest = 0;
		right_divide(&want, &want_rest, &n, cases[i][2]);
		f(&got, &rest, &n, cases[i][2]);
		if (got.low != want.low || got.high != want.high || rest != want_rest)
			return 0;
	}
	return 1;
}

/* writable gives the pages of a function for change. */
static int writable(unsigned char *code)
{
	long page = sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)code & ~(uintptr_t)(page - 1);
	return mprotect((void *)start, (size_t)(2 * page), PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}

/* jump writes "movabs $to, %rax; jmp *%rax". */
enum { JUMP = 12 };
static void jump(unsigned char *at, const void *to)
{
	static const unsigned char code[JUMP] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0 };
	memcpy(at, code, sizeof code);
	memcpy(at + 2, &to, sizeof to);
}

/* Every 64-bit IDIV is wrong where a cast between two structures has broken the compiler's rule about aliases; Linux dies of it while it sets up its
 * clocks. */
static void repair_division(void)
{
	unsigned char *f = dlsym(RTLD_DEFAULT, "_Z9long_idivP7Bit128sPlPKS_l");
	if (!f) {
		fprintf(stderr, "doorbell: Bochs's division was not found: it is left as it is\n");
	} else if (divides((divide *)f)) {
		fprintf(stderr, "doorbell: Bochs's division is right\n");
	} else if (writable(f)) {
		jump(f, right_divide);
		fprintf(stderr, "doorbell: Bochs's division was wrong and is %s\n", divides((divide *)f) ? "repaired" : "not repaired");
	}
}

/* An interrupt from outside that arrives in a VMX guest delivers a pending virtual one with it, whether the guest has interrupts enabled or not
 * (HandleExtInterrupt looks at what is pending and not at what is masked). Linux in the guest does not survive that. The repair hides a masked virtual
 * interrupt for the time of the call.
 *
 * The places in the processor's object are those of Debian's 3.1+dfsg-1, which the function's first instructions tell: the last of them reads one. */
enum { IN_VMX_GUEST = 0x8ec1, PENDING = 0x91e0, MASKED = 0x91e4 };
static const uint32_t VIRTUAL_INTERRUPT = 1u << 9;

static void (*handle_interrupt)(unsigned char *cpu);

static void handle_interrupt_only(unsigned char *cpu)
{
	uint32_t *pending = (uint32_t *)(cpu + PENDING);
	const uint32_t *masked = (const uint32_t *)(cpu + MASKED);
	if (!cpu[IN_VMX_GUEST] || !(*pending & *masked & VIRTUAL_INTERRUPT)) {
		handle_interrupt(cpu);
		return;
	}
	*pending &= ~VIRTUAL_INTERRUPT;
	handle_interrupt(cpu); /* with a VM exit it does not return here; the next entry finds what is pending by itself */
	if (cpu[IN_VMX_GUEST])
		*pending |= VIRTUAL_INTERRUPT;
}

static void repair_interrupts(void)
{
	static const unsigned char known[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x5c, 0x24, 0x08, 0x48, 0x89, 0xfb, 0x80, 0xbf, 0xb0, 0x91 };
	enum { MOVED = 13 }; /* whole instructions that do not care where they are, and room for a jump */
	unsigned char *f = dlsym(RTLD_DEFAULT, "_ZN8BX_CPU_C18HandleExtInterruptEv");
	if (!f || memcmp(f, known, sizeof known) != 0) {
		fprintf(stderr, "doorbell: Bochs's interrupts are of a build that is not known: they are left as they are\n");
		return;
	}
	unsigned char *moved = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (moved == MAP_FAILED || !writable(f))
		return;
	/* "jmp *0(%rip)" and the address: no register is changed. */
	static const unsigned char on[] = { 0xff, 0x25, 0, 0, 0, 0 };
	const void *rest = f + MOVED;
	memcpy(moved, f, MOVED);
	memcpy(moved + MOVED, on, sizeof on);
	memcpy(moved + MOVED + sizeof on, &rest, sizeof rest);
	handle_interrupt = (void (*)(unsigned char *))moved;
	jump(f, handle_interrupt_only);
	fprintf(stderr, "doorbell: Bochs's interrupts are repaired\n");
}

__attribute__((constructor)) static void repair(void)
{
	repair_division();
	repair_interrupts();
}
