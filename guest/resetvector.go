package guest

// resetCode stands for a BIOS at the reset vector. A guest that jumps there in
// real mode asks for a restart: Linux does so on a machine with hardware-reduced
// ACPI and no EFI, unless its command line names another way. The code turns the
// jump into what the machine understands, a write to the reset control register.
var resetCode = []byte{
	0xb0, 0x06, // mov al, RST_CPU | SYS_RST
	0xba, 0xf9, 0x0c, // mov dx, 0xcf9
	0xee,       // out dx, al
	0xf4,       // hlt
	0xeb, 0xfd, // jmp back to hlt
}
