/* smp: the other processors start by INIT and SIPI, and every kind of IPI arrives, whether its receiver runs or halts. */
#include "bare.h"

enum { FIXED = 0x60, LOWEST = 0x61, ROUNDS = 200 };
static volatile u32 fixed[16], nmis[16], arrived[16], starts;
static volatile u32 lowest, go;

static u32 me(void) { return apic_read(APIC_ID) >> 24; }

static void on_fixed(struct frame *f)
{
	(void)f;
	add(&fixed[me()], 1);
	eoi();
}

static void on_lowest(struct frame *f)
{
	(void)f;
	add(&lowest, 1);
	eoi();
}

static void on_nmi(struct frame *f)
{
	(void)f;
	add(&nmis[me()], 1);
}

/* ap_main halts between interrupts on every second processor, and runs on the others. */
void ap_main(u32 number)
{
	(void)number;
	apic_enable();
	apic_write(APIC_LDR, 1u << (24 + me()));
	add(&starts, 1);
	add(&arrived[me()], 1);
	for (;;) {
		if (me() & 1) {
			halt();
		} else {
			window();
		}
	}
}

static void wait(volatile u32 *n, u32 want, const char *what)
{
	int came = await(n, want);
	expect(*n == want, what, *n, want);
	if (!came) {
		say("LOST %s\n", what);
		exit(finish()); /* what follows counts on it */
	}
}

int main(void)
{
	u32 n = cpus();
	on(FIXED, on_fixed);
	on(LOWEST, on_lowest);
	on(2, on_nmi);
	start_cpus();
	apic_write(APIC_LDR, 1u << 24);
	wait(&starts, n - 1, "processors started");

	for (u32 r = 1; r <= ROUNDS; r++)
		for (u32 id = 1; id < n; id++) {
			ipi(id, FIXED);
			wait(&fixed[id], r, "fixed IPIs");
		}
	ipi(0, ICR_OTHERS | FIXED);
	for (u32 id = 1; id < n; id++)
		wait(&fixed[id], ROUNDS + 1, "IPI to all but self");
	ipi(0, ICR_ALL | FIXED);
	for (u32 id = 0; id < n; id++)
		wait(&fixed[id], id ? ROUNDS + 2 : 1, "IPI to all");
	ipi(0, ICR_SELF | FIXED);
	wait(&fixed[0], 2, "IPI to self");
	ipi(0xff, FIXED); /* the broadcast's ID */
	for (u32 id = 0; id < n; id++)
		wait(&fixed[id], id ? ROUNDS + 3 : 3, "IPI to ID 0xff");
	ipi((1 << n) - 1, 1 << 11 | FIXED); /* logical, flat */
	for (u32 id = 0; id < n; id++)
		wait(&fixed[id], id ? ROUNDS + 4 : 4, "logical IPI");
	ipi((1 << n) - 1, 1 << 11 | 1 << 8 | LOWEST);
	wait(&lowest, 1, "IPI of lowest priority");
	for (u32 id = 1; id < n; id++) {
		ipi(id, ICR_NMI);
		wait(&nmis[id], 1, "NMI by IPI");
	}

	/* A processor that is reset starts again where the next SIPI says; a SIPI without INIT is nothing to one that runs. */
	if (n > 1) {
		ipi(1, ICR_STARTUP | 8);
		ipi(1, ICR_INIT);
		ipi(1, ICR_STARTUP | 8);
		wait(&arrived[1], 2, "arrivals after INIT");
		ipi(1, FIXED);
		wait(&fixed[1], ROUNDS + 5, "IPI after INIT");
	}
	say("%u processors\n", n);
	return finish();
}
