/* hostile: what a guest should not do to its interrupt controllers. The VMM lives, the guest gets on, and what it does properly works afterwards. */
#include "bare.h"

enum { PIN = 21, VECTOR = 0x62, TIMER = 0x63 };
static volatile u32 count, timers;

static void handle(struct frame *f)
{
	(void)f;
	count++;
	eoi();
}

static void on_timer(struct frame *f)
{
	(void)f;
	timers++;
	eoi();
}

static void wait(volatile u32 *n, u32 want, const char *what)
{
	expect(await(n, want), what, *n, want);
}

int main(void)
{
	u32 selves = argument(1, 20000);
	u32 toggles = argument(2, 1000); /* its APIC is off for a moment after so many; 0 is never */
	u8 id = apic_read(APIC_ID) >> 24;
	on(VECTOR, handle);
	on(TIMER, on_timer);
	apic_enable();

	/* Every register of the page, in every width and at every offset of the first kilobyte; ICR is left out here. */
	for (u32 off = 0; off < 0x400; off++) {
		if ((off & ~0xf) == APIC_ICR || (off & ~0xf) == APIC_ICR2)
			continue;
		volatile u8 *p = (volatile u8 *)(0xfee00000 + off);
		(void)*p;
		(void)*(volatile u16 *)p;
		(void)*(volatile u32 *)p;
		*p = 0xa5;
		*(volatile u16 *)p = 0xa5a5;
		*(volatile u32 *)p = 0xa5a5a5a5;
	}
	for (int i = 0; i < 8; i++)
		eoi(); /* nothing is in service */

	/* ICR: every mode and shorthand but INIT and SIPI to this processor, with vectors that exist and not, to nobody and to somebody. */
	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_TPR, 0xff);
	for (u32 mode = 0; mode < 8; mode++)
		for (u32 low = 0; low < 0x20; low++) {
			if (mode == 2 || mode == 4 || mode == 5)
				continue; /* SMI, NMI and INIT are asked for elsewhere */
			ipi(0x7f, mode << 8 | low);
			if (mode < 2)
				ipi(id, mode << 8 | low);
			ipi(0x7f, 1 << 11 | 1 << 15 | mode << 8 | low);
		}
	apic_write(APIC_ESR, 0);
	say("ESR after illegal vectors: 0x%x\n", apic_read(APIC_ESR)); /* KVM's has no such bits */

	/* The IOAPIC: all indexes, all modes. */
	for (u32 index = 0; index < 0x100; index++) {
		ioapic_write(index, 0xffffffff & ~(5 << 8) & ~(4 << 8)); /* not INIT, not NMI */
		ioapic_read(index);
	}
	for (u32 off = 0; off < 0x100; off++) {
		*(volatile u8 *)(0xfec00000 + off) = 0xff;
		(void)*(volatile u16 *)(0xfec00000 + off);
	}
	for (u32 mode = 0; mode < 8; mode++) {
		if (mode == 4 || mode == 5)
			continue;
		for (u32 v = 0; v < 0x14; v++) {
			ioapic_route(PIN, mode << 8 | v | RTE_LEVEL, 0x7f);
			gsi(PIN, 1);
			gsi(PIN, 0);
			ioapic_route(PIN, mode << 8 | v, v & 1 ? 0x7f : id);
			gsi(PIN, 1);
			gsi(PIN, 0);
		}
	}
	for (u8 pin = 0; pin < 24; pin++)
		ioapic_route(pin, RTE_MASKED, 0);

	/* The local APIC as after power-up: by IA32_APIC_BASE, off and on again. */
	u64 base = rdmsr(0x1b);
	wrmsr(0x1b, base & ~(u64)0x800);
	gsi(PIN, 1);
	gsi(PIN, 0);
	wrmsr(0x1b, base);
	for (u32 reg = APIC_TIMER; reg <= 0x370; reg += 0x10)
		apic_write(reg, 1 << 16);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_SVR, 0x1ff);

	/* A timer that is to fire every nanosecond; the host decides how often it does, and one that is busy does not do so often. */
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_TIMER, 1 << 17 | TIMER);
	apic_write(APIC_TICR, 1);
	wait(&timers, 10, "interrupts of the timer");
	apic_write(APIC_TICR, 0);
	apic_write(APIC_TIMER, 1 << 16);

	/* Interrupts to itself, as fast as it can, with interrupts off and on, and its APIC off now and then. */
	count = 0;
	for (u32 i = 0; i < selves; i++) {
		ipi(0, ICR_SELF | VECTOR);
		if (i % 7 == 0) {
			/* Not sti; hlt: an emulated host may take the interrupt between the two. Not a moment only, either. */
			sti();
			for (int n = 0; n < 20; n++)
				pause();
			cli();
		}
		if (toggles && i % toggles == toggles - 1) {
			apic_write(APIC_SVR, 0xff);
			apic_write(APIC_SVR, 0x1ff);
		}
	}
	expect(count > 0, "interrupts to itself", count, 1);

	/* And what is proper. */
	wait(&count, 1, "an interrupt to itself");
	count = 0;
	ioapic_route(PIN, VECTOR, id);
	gsi(PIN, 1);
	gsi(PIN, 0);
	wait(&count, 1, "a pin's interrupt afterwards");
	ipi(id, VECTOR);
	wait(&count, 2, "an IPI afterwards");
	say("%u timer interrupts\n", timers);
	return finish();
}
