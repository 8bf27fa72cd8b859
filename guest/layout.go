package guest

import "doorbell/guest/bootparam"

// The guest's physical address map at its start. Below 1 MiB everything has a
// fixed place; Linux has copied what it needs from there before it uses that
// memory for itself.
//
//	0x0000_0500  GDT
//	0x0000_7000  zero page (struct boot_params)
//	0x0000_8000  boot stack, growing down from 0x9000
//	0x0000_9000  page tables: PML4, PDPT, four page directories
//	0x0000_f000  setup_data (random seed)
//	0x0002_0000  command line
//	0x0009_fc00  EBDA, reserved                    ─┐ never given
//	0x000a_0000  video memory, not RAM              │ out as RAM
//	0x000e_0000  ACPI tables, reserved             ─┘
//	0x000f_fff0  reset vector: what stands for a BIOS
//	0x0010_0000  RAM for the kernel ...
//	             kernel at the address it was linked for, usually 16 MiB
//	             ...
//	             initrd, as high as the kernel accepts
//	             end of low RAM, 3 GiB at most
//	0xc000_0000  hole: PCI, IOAPIC, LAPIC
//	0x1_0000_0000  RAM beyond 3 GiB
const (
	gdtStart        = 0x500
	zeroPageStart   = 0x7000
	stackStart      = 0x8000
	stackEnd        = 0x9000
	pageTablesStart = 0x9000
	pageTablesEnd   = 0xf000
	setupDataStart  = 0xf000
	setupDataEnd    = 0x10000
	cmdlineStart    = 0x20000
	cmdlineEnd      = 0x30000

	// ACPIStart and ACPIEnd bound the area for ACPI tables. It is reserved in
	// the memory map, and a kernel that ignores the boot parameters'
	// acpi_rsdp_addr searches it for the RSDP.
	ACPIStart = bootparam.BIOSStart
	ACPIEnd   = bootparam.BIOSEnd

	// resetVector is where a BIOS is entered at F000:FFF0.
	resetVector = 0xffff0

	// kernelStart is the lowest address at which a kernel may lie, and
	// identityEnd the end of what the page tables map.
	kernelStart = bootparam.BIOSEnd
	identityEnd = 4 << 30
)
