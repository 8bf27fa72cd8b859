/* storm: a level-triggered interrupt whose handler ends it while its device still asks, as often as the first argument says. */
#include "bare.h"

enum { PIN = 20, VECTOR = 0x50 };
static volatile u32 count;
static u32 limit;

static void handle(struct frame *f)
{
	(void)f;
	if (++count == limit)
		gsi(PIN, 0);
	eoi();
}

int main(void)
{
	limit = argument(1, 25000);
	on(VECTOR, handle);
	apic_enable();
	ioapic_route(PIN, VECTOR | RTE_LEVEL, apic_read(APIC_ID) >> 24);
	gsi(PIN, 1);
	while (count < limit)
		halt();
	/* The line is down: nothing more comes. */
	for (int i = 0; i < 100000; i++) {
		sti();
		pause();
		cli();
	}
	say("%u interrupts, of %u\n", count, limit);
	expect(count == limit, "interrupts", count, limit);
	expect(!(ioapic_read(0x10 + 2 * PIN) & RTE_REMOTE_IRR), "remote IRR", ioapic_read(0x10 + 2 * PIN), VECTOR | RTE_LEVEL);
	return finish();
}
