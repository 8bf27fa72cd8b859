#include "bare.h"

struct multiboot *multiboot;
static handler *handlers[256];
static int failures;

static void put(char c)
{
	if (c == '\n')
		put('\r');
	while (!(in8(0x3f8 + 5) & 0x20))
		;
	out8(0x3f8, c);
}

static void number(u32 v, u32 base)
{
	char digits[11];
	int n = 0;
	do
		digits[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		put(digits[--n]);
}

void say(const char *format, ...)
{
	__builtin_va_list args;
	__builtin_va_start(args, format);
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		switch (*++format) {
		case 'd': {
			int v = __builtin_va_arg(args, int);
			if (v < 0) {
				put('-');
				v = -v;
			}
			number(v, 10);
			break;
		}
		case 'u':
			number(__builtin_va_arg(args, u32), 10);
			break;
		case 'x':
			number(__builtin_va_arg(args, u32), 16);
			break;
		case 's':
			for (const char *s = __builtin_va_arg(args, const char *); *s; s++)
				put(*s);
			break;
		}
	}
	__builtin_va_end(args);
}

void exit(int status)
{
	out8(0xf4, status);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void expect(int ok, const char *what, u32 got, u32 want)
{
	if (!ok) {
		failures++;
		say("FAIL %s: 0x%x, want 0x%x\n", what, got, want);
	}
}

int await(volatile u32 *n, u32 want)
{
	static int vain;
	const u32 spins = 3000000, most = 2000000000; /* before it looks at the time, and if that stands still */
	const u64 patience = 60000000000;
	u64 start = rdtsc();

	for (u32 i = 0; *n < want; i++) {
		if (i >= spins && (vain || i >= most || rdtsc() - start > patience)) {
			vain = 1;
			return 0;
		}
		window();
	}
	return 1;
}

int finish(void)
{
	say(failures ? "FAIL\n" : "PASS\n");
	return failures != 0;
}

u32 argument(int n, u32 otherwise)
{
	const char *s = (const char *)multiboot->cmdline;
	for (; *s && n; n--) {
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
	if (*s < '0' || *s > '9')
		return otherwise;
	u32 v = 0;
	for (; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + *s - '0';
	return v;
}

/* The interrupt descriptor table: 32-bit interrupt gates (SDM section 7.11). */
static u64 idt[256];
extern const u32 vector_table[256];
struct {
	u16 limit;
	u32 base;
} __attribute__((packed)) idt_pointer = {sizeof(idt) - 1, (u32)idt};

void dispatch(struct frame *f)
{
	if (!handlers[f->vector]) {
		say("vector 0x%x, error 0x%x at 0x%x has no handler\n", f->vector, f->error, f->eip);
		exit(0x7f);
	}
	handlers[f->vector](f);
}

void on(u8 vector, handler *h) { handlers[vector] = h; }

static void ignore(struct frame *f) { (void)f; }

void setup(u32 magic, struct multiboot *info)
{
	multiboot = info;
	for (int i = 0; i < 256; i++)
		idt[i] = (vector_table[i] & 0xffff) | 8 << 16 | (u64)0x8e00 << 32 | (u64)(vector_table[i] >> 16) << 48;
	__asm__ volatile("lidt %0" ::"m"(idt_pointer));
	on(0xff, ignore); /* the spurious vector */
	if (magic != 0x2badb002) {
		say("not started by a Multiboot loader: 0x%x\n", magic);
		exit(0x7e);
	}
}

void apic_enable(void) { apic_write(APIC_SVR, 0x1ff); }

void ipi(u8 id, u32 low)
{
	apic_write(APIC_ICR2, (u32)id << 24);
	apic_write(APIC_ICR, low | ICR_ASSERT);
}

u32 ioapic_read(u8 index)
{
	*(volatile u32 *)0xfec00000 = index;
	return *(volatile u32 *)0xfec00010;
}

void ioapic_write(u8 index, u32 v)
{
	*(volatile u32 *)0xfec00000 = index;
	*(volatile u32 *)0xfec00010 = v;
}

void ioapic_route(u8 pin, u32 low, u8 id)
{
	ioapic_write(0x10 + 2 * pin, RTE_MASKED);
	ioapic_write(0x11 + 2 * pin, (u32)id << 24);
	ioapic_write(0x10 + 2 * pin, low);
}

u32 cpus(void)
{
	out16(0x510, 5);
	u32 low = in8(0x511);
	return low | in8(0x511) << 8;
}

extern const char trampoline[], trampoline_end[];
extern volatile u32 ap_number;

void start_cpus(void)
{
	for (u32 i = 0; i < (u32)(trampoline_end - trampoline); i++)
		((volatile char *)0x8000)[i] = trampoline[i];
	apic_enable();
	ipi(0, ICR_OTHERS | ICR_INIT);
	for (int i = 0; i < 2; i++)
		ipi(0, ICR_OTHERS | ICR_STARTUP | 8);
	while (ap_number != cpus())
		pause();
}

__attribute__((weak)) void ap_main(u32 number) { (void)number; }
