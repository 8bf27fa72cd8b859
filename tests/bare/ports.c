/* ports: the test devices: ports that read back, fw_cfg, and the PCI function with its three ways to notice a write in each of two BARs. */
#include "bare.h"

static u32 config_read(u8 device, u8 reg)
{
	out32(0xcf8, 1u << 31 | device << 11 | reg);
	return in32(0xcfc);
}

static void config_write(u8 device, u8 reg, u32 v)
{
	out32(0xcf8, 1u << 31 | device << 11 | reg);
	out32(0xcfc, v);
}

static int port_bar;
static u32 bar;

static u8 read8(u32 off) { return port_bar ? in8(bar + off) : *(volatile u8 *)(bar + off); }
static u32 read32(u32 off) { return port_bar ? in32(bar + off) : *(volatile u32 *)(bar + off); }
static void write8(u32 off, u8 v)
{
	if (port_bar)
		out8(bar + off, v);
	else
		*(volatile u8 *)(bar + off) = v;
}

static void test_bar(void)
{
	for (u8 t = 0;; t++) {
		char name[48];
		write8(0, t);
		if (!read8(1)) {
			expect(t == 3, "tests of a BAR", t, 3);
			return;
		}
		for (u32 i = 0; i < sizeof(name); i++)
			name[i] = read8(16 + i);
		u32 off = read32(4), data = read32(8);
		for (int i = 0; i < 10; i++)
			write8(off, data);
		if (t == 2)
			write8(off, data ^ 1); /* not the value that is waited for */
		say("%s: %u writes noticed\n", name, read32(12));
		expect(read32(12) == 10, name, read32(12), 10);
	}
}

int main(void)
{
	for (u16 port = 0xe0; port < 0xe8; port++) {
		out8(port, port ^ 0x5a);
		expect(in8(port) == (u8)(port ^ 0x5a), "echo, 8 bits", in8(port), port ^ 0x5a);
	}
	for (u16 port = 0xe0; port < 0xe8; port += 2) {
		out16(port, port * 257u);
		expect(in16(port) == (u16)(port * 257u), "echo, 16 bits", in16(port), (u16)(port * 257u));
	}
	for (u16 port = 0xe0; port < 0xe8; port += 4) {
		out32(port, (u32)port * 0x1030507u);
		expect(in32(port) == (u32)port * 0x1030507u, "echo, 32 bits", in32(port), (u32)port * 0x1030507u);
	}
	volatile u32 *scratch = (volatile u32 *)0xff000000;
	scratch[5] = 0x12345678;
	expect(scratch[5] == 0x12345678, "scratch memory", scratch[5], 0x12345678);
	out16(0x510, 0);
	char signature[5] = {0};
	for (int i = 0; i < 4; i++)
		signature[i] = in8(0x511);
	say("fw_cfg %s, %u processors\n", signature, cpus());
	expect(cpus() == argument(1, 0), "processors", cpus(), argument(1, 0));

	u8 device = 0;
	while (device < 32 && config_read(device, 0) != 0x00051b36)
		device++;
	expect(device < 32, "the PCI test function's place", device, 2);
	config_write(device, 4, 3);
	for (port_bar = 0; port_bar < 2; port_bar++) {
		u32 v = config_read(device, 0x10 + 4 * port_bar);
		expect((v & 1) == (u32)port_bar, "kind of a BAR", v, port_bar);
		bar = v & ~(port_bar ? 3u : 15u);
		say("BAR %u at 0x%x\n", port_bar, bar);
		test_bar();
	}
	/* Moved, the eventfds follow. */
	config_write(device, 0x14, 0xcf01);
	port_bar = 1;
	bar = config_read(device, 0x14) & ~3u;
	say("moved to 0x%x\n", bar);
	test_bar();
	return finish();
}
