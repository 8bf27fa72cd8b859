/* A library for bare guests: 32-bit protected mode without paging, a serial port, interrupts, other processors. See bare.c. */
#ifndef BARE_H
#define BARE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define PORT_IO(bits, letter, reg)                                                                                      \
	static inline void out##bits(u16 port, u##bits v) { __asm__ volatile("out" letter " %0, %1" ::"a"(v), "Nd"(port) : "memory"); } \
	static inline u##bits in##bits(u16 port)                                                                         \
	{                                                                                                                \
		u##bits v;                                                                                               \
		__asm__ volatile("in" letter " %1, %0" : "=a"(v) : "Nd"(port) : "memory");                               \
		return v;                                                                                                \
	}
PORT_IO(8, "b", "al")
PORT_IO(16, "w", "ax")
PORT_IO(32, "l", "eax")

/* What interrupted code's registers were. */
struct frame {
	u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
	u32 vector, error, eip, cs, eflags;
};

/* The Multiboot information (section 3.3). */
struct module { u32 start, end, string, reserved; };
struct multiboot {
	u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr, drives[2], config, loader_name;
};
extern struct multiboot *multiboot;

/* say prints on the serial port: %d, %u, %x, %s. */
void say(const char *format, ...);
/* exit ends the guest: the VMM's status is (status << 1) | 1. */
void exit(int status) __attribute__((noreturn));
/* expect says what is wrong unless ok, and remembers it for finish. */
void expect(int ok, const char *what, u32 got, u32 want);
/* await lets interrupts in until *n is at least want, and says whether it came to that. It waits half a minute of a processor at 2 GHz: the emulated host of a busy
 * machine lets another vCPU run late. After one wait in vain it has less patience. */
int await(volatile u32 *n, u32 want);
/* finish is main's return: 0 if every expect was met. */
int finish(void);
/* argument is the nth word of the command line as a number, or otherwise. Word 0 is the program's name. */
u32 argument(int n, u32 otherwise);

typedef void handler(struct frame *);
/* on installs the handler of a vector. One that has none ends the guest. */
void on(u8 vector, handler *h);

static inline void cli(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void sti(void) { __asm__ volatile("sti" ::: "memory"); }
/* halt waits for an interrupt. */
static inline void halt(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
/* window lets interrupts in for an instruction. It is no PAUSE, at each of which KVM takes an AMD processor without a pause filter, as the emulated one is, out
 * of the guest: a hundred thousand exits a second, in each of which QEMU may lose an interrupt of the host. */
static inline void window(void) { __asm__ volatile("sti; nop; cli" ::: "memory"); }
static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }
static inline u64 rdtsc(void)
{
	u64 v;
	__asm__ volatile("rdtsc" : "=A"(v));
	return v;
}
static inline u64 rdmsr(u32 index)
{
	u64 v;
	__asm__ volatile("rdmsr" : "=A"(v) : "c"(index));
	return v;
}
static inline void wrmsr(u32 index, u64 v) { __asm__ volatile("wrmsr" ::"A"(v), "c"(index) : "memory"); }
static inline void add(volatile u32 *p, u32 n) { __asm__ volatile("lock addl %1, %0" : "+m"(*p) : "ir"(n) : "memory"); }

/* The local APIC's page, by the offsets of the manual (SDM table 11-1). */
enum { APIC_ID = 0x20, APIC_TPR = 0x80, APIC_EOI = 0xb0, APIC_LDR = 0xd0, APIC_SVR = 0xf0, APIC_ESR = 0x280, APIC_ICR = 0x300, APIC_ICR2 = 0x310,
       APIC_TIMER = 0x320, APIC_LINT0 = 0x350, APIC_LINT1 = 0x360, APIC_TICR = 0x380, APIC_TCCR = 0x390, APIC_TDCR = 0x3e0 };
static inline u32 apic_read(u32 reg) { return *(volatile u32 *)(0xfee00000 + reg); }
static inline void apic_write(u32 reg, u32 v) { *(volatile u32 *)(0xfee00000 + reg) = v; }
static inline void eoi(void) { apic_write(APIC_EOI, 0); }
/* apic_enable switches this processor's on, with the spurious vector 0xff. */
void apic_enable(void);
/* ipi sends what the ICR's low half says to an APIC ID. */
void ipi(u8 id, u32 low);
enum { ICR_SELF = 1 << 18, ICR_ALL = 2 << 18, ICR_OTHERS = 3 << 18, ICR_NMI = 4 << 8, ICR_INIT = 5 << 8, ICR_STARTUP = 6 << 8, ICR_ASSERT = 1 << 14 };

/* The IOAPIC. */
enum { RTE_LEVEL = 1 << 15, RTE_MASKED = 1 << 16, RTE_REMOTE_IRR = 1 << 14 };
u32 ioapic_read(u8 index);
void ioapic_write(u8 index, u32 v);
/* ioapic_route programs a pin's entry: the low half, and the destination's APIC ID. */
void ioapic_route(u8 pin, u32 low, u8 id);
/* gsi drives a line by the test device's port. */
static inline void gsi(u8 n, u8 level) { out8(0x2000 + n, level); }

/* cpus is the number of processors, by fw_cfg. */
u32 cpus(void);
/* start_cpus starts all others by INIT and two SIPIs, each at ap_main, and waits until they have arrived. */
void start_cpus(void);
/* ap_main is where they arrive: number is 1, 2, ... in that order. A payload that starts them has one of its own. */
void ap_main(u32 number);

#endif
