/* passed: a device of the host's that was passed through interrupts by every kind that it has, and what its driver masks is pending until it does not.
   The first argument is 0 for an 82574 (e1000e), 1 for QEMU's edu. */
#include "bare.h"

enum { VECTOR = 0x50, ROUNDS = 50 };
enum { COMMAND = 0x04, BAR0 = 0x10, CAPABILITIES = 0x34, PIN = 0x3d };
enum { MEMORY_AND_MASTER = 6, CAP_MSI = 5, CAP_MSIX = 0x11, MSIX_ENABLE = 1u << 31, MSIX_MASK = 1u << 30 };

static u32 device; /* configuration address of its register 0 */

static u32 config(u32 reg)
{
	out32(0xcf8, device | (reg & 0xfc));
	return in32(0xcfc);
}

static void set_config(u32 reg, u32 v)
{
	out32(0xcf8, device | (reg & 0xfc));
	out32(0xcfc, v);
}

static int find(u32 id)
{
	for (u32 slot = 0; slot < 32; slot++) {
		device = 1u << 31 | slot << 11;
		if (config(0) == id)
			return 1;
	}
	return 0;
}

static u32 capability(u8 id)
{
	for (u32 at = config(CAPABILITIES) & 0xfc; at; at = config(at) >> 8 & 0xfc)
		if ((config(at) & 0xff) == id)
			return at;
	return 0;
}

static volatile u32 count;
static u32 registers; /* BAR 0 */
static int ack_first = 1, is_edu;

static u32 read(u32 reg) { return *(volatile u32 *)(registers + reg); }
static void write(u32 reg, u32 v) { *(volatile u32 *)(registers + reg) = v; }

/* edu's registers: what it interrupts for, raise, acknowledge. */
enum { EDU_STATUS = 0x24, EDU_RAISE = 0x60, EDU_ACK = 0x64 };

static void on_interrupt(struct frame *f)
{
	(void)f;
	count++;
	if (is_edu && ack_first)
		write(EDU_ACK, read(EDU_STATUS));
	eoi();
	if (is_edu && !ack_first) {
		write(EDU_ACK, read(EDU_STATUS));
		ack_first = 1;
	}
}

static void open(void) { sti(); pause(); pause(); cli(); }

/* settle is for a device that interrupts once more when its throttling timer runs out, as QEMU's 82574 does: it waits until nothing comes any more. */
static void settle(u32 *n, const char *what)
{
	await(&count, *n + 1);
	for (u32 was = 0; was != count;) {
		was = count;
		for (u32 i = 0; i < 20000; i++)
			open();
	}
	expect(count > *n && count <= *n + 2, what, count - *n, 1);
	*n = count;
}

static void wait(u32 want, const char *what)
{
	await(&count, want);
	expect(count == want, what, count, want);
}

/* quiet gives what must not come time to do so. */
static void quiet(u32 want, const char *what)
{
	for (u32 i = 0; i < 200000; i++)
		open();
	expect(count == want, what, count, want);
}

/* The 82574's interrupt registers (its datasheet, section 10.2.4). RXQ0 is a cause of its own with MSI-X. */
enum { ICS = 0xc8, IMS = 0xd0, IVAR = 0xe4, RXQ0 = 1 << 20, RXQ0_TO_0 = 1 << 3 };
enum { EIAC = 0xdc };

static void fire(void)
{
	write(IMS, RXQ0);
	write(ICS, RXQ0);
}

static void e1000e(void)
{
	u32 cap = capability(CAP_MSIX);
	expect(cap != 0, "MSI-X", 0, 1);
	if (!cap)
		return;
	u32 table = config(BAR0 + 4 * (config(cap + 4) & 7)) + (config(cap + 4) & ~7u), pba = config(BAR0 + 4 * (config(cap + 8) & 7)) + (config(cap + 8) & ~7u);
	table &= ~0xfu;
	volatile u32 *entry = (volatile u32 *)table, *pending = (volatile u32 *)(pba & ~0xfu);
	expect(entry[3] == 1, "mask bit after reset", entry[3], 1);
	entry[0] = 0xfee00000;
	entry[1] = 0;
	entry[2] = VECTOR;
	entry[3] = 0;
	write(IVAR, RXQ0_TO_0);
	write(EIAC, RXQ0);
	set_config(cap, MSIX_ENABLE);

	u32 n = 0;
	for (u32 i = 1; i <= ROUNDS; i++) {
		fire();
		settle(&n, "interrupts by MSI-X");
	}
	/* Masked, it is pending, once however often it fires, and delivered when it is unmasked: by the vector's mask and by the function's. */
	for (u32 function = 0; function < 2; function++) {
		if (function)
			set_config(cap, MSIX_ENABLE | MSIX_MASK);
		else
			entry[3] = 1;
		for (u32 i = 0; i < 3; i++)
			fire();
		quiet(n, "while it is masked");
		expect(pending[0] == 1, "pending bit", pending[0], 1);
		if (function)
			set_config(cap, MSIX_ENABLE);
		else
			entry[3] = 0;
		settle(&n, "after it was unmasked");
		expect(pending[0] == 0, "pending bit", pending[0], 0);
	}
	/* Another message takes effect with the next unmasking. */
	entry[3] = 1;
	entry[2] = VECTOR + 1;
	entry[3] = 0;
	fire();
	settle(&n, "with another vector");
	set_config(cap, 0);
}

/* hostile: BARs over memory and over each other, table entries in every width and beyond the last, the command register off and on. The device answers where it
   did when all is back. */
static void hostile(void)
{
	u32 cap = capability(CAP_MSIX), bar0 = config(BAR0), bar3 = config(BAR0 + 12), reads = 0;
	static volatile u32 here = 0x600d600d;
	volatile u8 *table = (volatile u8 *)(bar3 & ~0xfu);
	static const u32 places[] = {0, 0x100000, 0xfee00000, 0xfec00000, 0xe0000000, 0xffffffff, 0x7fffffff};
	for (u32 i = 0; i < sizeof places / sizeof *places; i++) {
		set_config(BAR0, places[i]);
		reads += *(volatile u32 *)(registers + 8);
		expect(here == 0x600d600d, "memory under a BAR", here, 0x600d600d);
	}
	set_config(BAR0, bar3);
	set_config(BAR0 + 12, bar0);
	reads += *(volatile u32 *)registers + *table;
	set_config(BAR0 + 12, bar3);
	set_config(BAR0, bar0);
	for (u32 i = 0; i < 50; i++) {
		set_config(COMMAND, i & 1 ? MEMORY_AND_MASTER : 0xffffffff);
		set_config(COMMAND, 0);
	}
	set_config(COMMAND, MEMORY_AND_MASTER);
	set_config(cap, MSIX_ENABLE | 0x3fffffff);
	for (u32 off = 0; off < 0x1000; off++) {
		table[off] = 0xa5;
		*(volatile u16 *)(table + off) = 0xa5a5;
		*(volatile u32 *)(table + off) = 0xa5a5a5a4;
		reads += table[off] + *(volatile u16 *)(table + off) + *(volatile u32 *)(table + off);
	}
	for (u32 off = 12; off < 5 * 16; off += 16)
		*(volatile u32 *)(table + off) = 1;
	set_config(cap, 0);
	expect(config(BAR0) == bar0 && config(BAR0 + 12) == bar3, "BARs", config(BAR0), bar0);
	say("%x\n", reads);
}

static void edu(u8 slot)
{
	u32 pin = 16 + slot % 8, n = 0, cap = capability(CAP_MSI);
	is_edu = 1;
	expect((config(PIN & 0xfc) >> 8 & 0xff) == 1, "interrupt pin", config(PIN & 0xfc) >> 8 & 0xff, 1);
	ioapic_route(pin, RTE_LEVEL | 1 << 13 | VECTOR, 0); /* active low */
	for (u32 i = 0; i < ROUNDS; i++) {
		write(EDU_RAISE, 1);
		wait(++n, "interrupts by INTx");
	}
	/* While the pin is masked the line stays up. */
	ioapic_route(pin, RTE_LEVEL | 1 << 13 | RTE_MASKED | VECTOR, 0);
	write(EDU_RAISE, 2);
	quiet(n, "while the pin is masked");
	ioapic_route(pin, RTE_LEVEL | 1 << 13 | VECTOR, 0);
	wait(++n, "after it was unmasked");
	/* An EOI before the device is quiet: the line is still up, or up again, and the interrupt may come once more, not for ever. */
	ack_first = 0;
	write(EDU_RAISE, 4);
	await(&count, n + 1);
	for (u32 i = 0; i < 200000; i++)
		open();
	expect(count > n && count <= n + 2, "EOI too early", count - n, 1);
	n = count;
	ioapic_route(pin, RTE_MASKED, 0);

	expect(cap != 0, "MSI", 0, 1);
	set_config(cap + 4, 0xfee00000);
	set_config(cap + 8, 0);
	set_config(cap + 12, VECTOR);
	set_config(cap, 1 << 16);
	for (u32 i = 0; i < ROUNDS; i++) {
		write(EDU_RAISE, 1);
		wait(++n, "interrupts by MSI");
	}
	set_config(cap, 0);
	/* Without messages it is the pin again. */
	ioapic_route(pin, RTE_LEVEL | 1 << 13 | VECTOR, 0);
	write(EDU_RAISE, 1);
	wait(++n, "INTx after MSI");
}

int main(void)
{
	u32 want = argument(1, 0);
	if (!find(want ? 0x11e81234 : 0x10d38086)) {
		say("no such device\n");
		return 1;
	}
	on(VECTOR, on_interrupt);
	on(VECTOR + 1, on_interrupt);
	apic_enable();
	set_config(COMMAND, MEMORY_AND_MASTER);
	registers = config(BAR0) & ~0xfu;
	if (want)
		edu(device >> 11 & 31);
	else {
		hostile();
		e1000e();
	}
	say("%u interrupts\n", count);
	return finish();
}
