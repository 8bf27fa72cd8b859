/* pins: the ways of a wire's interrupt: edge and level through the IOAPIC, masked and not; through the PICs; the PIT; an NMI by the IOAPIC. */
#include "bare.h"

enum { EDGE = 17, LEVEL = 18, V_EDGE = 0x51, V_LEVEL = 0x52, V_PIT = 0x40, V_PIC = 0x30 };
static volatile u32 edges, levels, nmis, ticks, pic[16];

static void edge(struct frame *f)
{
	(void)f;
	edges++;
	eoi();
}

static void level(struct frame *f)
{
	(void)f;
	if (++levels == 3)
		gsi(LEVEL, 0);
	eoi();
}

static void nmi(struct frame *f)
{
	(void)f;
	nmis++;
}

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	eoi();
}

static void legacy(struct frame *f)
{
	u32 irq = f->vector - V_PIC;
	pic[irq]++;
	gsi(irq, 0);
	if (irq >= 8)
		out8(0xa0, 0x20);
	out8(0x20, 0x20);
}

/* wait lets interrupts in until *n is there, or for so long that it does not come. */
static void wait(volatile u32 *n, u32 want)
{
	for (u32 i = 0; i < 3000000 && *n < want; i++) {
		sti();
		pause();
		cli();
	}
}

int main(void)
{
	u8 id = apic_read(APIC_ID) >> 24;
	apic_enable();
	apic_write(APIC_LINT0, 1 << 16); /* the PICs come last: KVM's give vector 0 before they are programmed */
	on(V_EDGE, edge);
	on(V_LEVEL, level);
	on(2, nmi);

	ioapic_route(EDGE, V_EDGE, id);
	for (int i = 0; i < 3; i++) {
		gsi(EDGE, 1);
		gsi(EDGE, 0);
		wait(&edges, i + 1);
	}
	expect(edges == 3, "edges", edges, 3);
	gsi(EDGE, 1);
	gsi(EDGE, 0);
	gsi(EDGE, 1);
	gsi(EDGE, 0);
	wait(&edges, 5);
	expect(edges == 4, "two edges before the first is taken are one", edges, 4);
	ioapic_route(EDGE, V_EDGE | RTE_MASKED, id);
	gsi(EDGE, 1);
	gsi(EDGE, 0);
	ioapic_route(EDGE, V_EDGE, id);
	wait(&edges, 5);
	expect(edges == 4, "an edge while the pin is masked", edges, 4);

	ioapic_route(LEVEL, V_LEVEL | RTE_LEVEL | RTE_MASKED, id);
	gsi(LEVEL, 1);
	wait(&levels, 1);
	expect(levels == 0, "a level while the pin is masked", levels, 0);
	ioapic_route(LEVEL, V_LEVEL | RTE_LEVEL, id);
	wait(&levels, 4);
	expect(levels == 3, "a level that stays for three interrupts", levels, 3);

	ioapic_route(EDGE, ICR_NMI, id);
	gsi(EDGE, 1);
	gsi(EDGE, 0);
	wait(&nmis, 1);
	expect(nmis == 1, "NMI by the IOAPIC", nmis, 1);
	ioapic_route(EDGE, RTE_MASKED, id);

	/* The PIT in mode 2, a tick each millisecond, by pin 0. */
	on(V_PIT, tick);
	ioapic_route(0, V_PIT, id);
	out8(0x43, 0x34);
	out8(0x40, 1193 & 0xff);
	out8(0x40, 1193 >> 8);
	for (int i = 0; i < 100 && ticks < 20; i++)
		wait(&ticks, 20);
	expect(ticks >= 20, "ticks of the PIT", ticks, 20);
	out8(0x43, 0x30);
	ioapic_route(0, RTE_MASKED, id);

	/* The PICs, through LINT0. */
	for (int i = 0; i < 16; i++)
		on(V_PIC + i, legacy);
	const u8 words[][2] = {{0x20, 0x11}, {0x21, V_PIC}, {0x21, 4}, {0x21, 1}, {0x21, 0xff & ~(1 << 5 | 1 << 2)}, {0xa0, 0x11}, {0xa1, V_PIC + 8}, {0xa1, 2}, {0xa1, 1}, {0xa1, 0xff & ~(1 << 3)}};
	for (u32 i = 0; i < sizeof(words) / sizeof(*words); i++)
		out8(words[i][0], words[i][1]);
	apic_write(APIC_LINT0, 7 << 8);
	for (int i = 0; i < 3; i++) {
		gsi(5, 1);
		wait(&pic[5], i + 1);
		gsi(11, 1);
		wait(&pic[11], i + 1);
	}
	expect(pic[5] == 3, "IRQ 5 through the PICs", pic[5], 3);
	expect(pic[11] == 3, "IRQ 11 through the PICs", pic[11], 3);
	apic_write(APIC_LINT0, 1 << 16 | 7 << 8);
	gsi(5, 1);
	wait(&pic[5], 4);
	expect(pic[5] == 3, "IRQ 5 while LINT0 is masked", pic[5], 3);
	apic_write(APIC_LINT0, 7 << 8);
	wait(&pic[5], 4);
	/* KVM's PICs, with a first argument of 0, do not tell LINT0 again what it has not heard. */
	if (argument(1, 1))
		expect(pic[5] == 4, "IRQ 5 after LINT0 was masked", pic[5], 4);
	return finish();
}
