package aml

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// The expected bytes are what ACPI's own ASL compiler emits for the ASL in
// the name of each case.
func TestEncoding(t *testing.T) {
	for _, tc := range []struct {
		asl  string
		got  []byte
		want string
	}{
		{"Zero", Int(0), "00"},
		{"One", Int(1), "01"},
		{"2", Int(2), "0a02"},
		{"0xFF", Int(0xff), "0aff"},
		{"0x100", Int(0x100), "0b0001"},
		{"0x10000", Int(0x10000), "0c00000100"},
		{"0x100000000", Int(1 << 32), "0e0000000001000000"},
		{`"AB"`, String("AB"), "0d414200"},
		{`EISAID ("PNP0501")`, EISAID("PNP0501"), "0c41d00501"},
		{`EISAID ("PNP0B00")`, EISAID("PNP0B00"), "0c41d00b00"},
		{`Name (_S5, Package () {5, 5, 0, 0})`, Name(`\_S5`, Package(Int(5), Int(5), Int(0), Int(0))),
			"085c5f53355f" + "1208040a050a050000"},
		{`Name (\_SB.COM1, One)`, Name(`\_SB.COM1`, Int(1)), "085c2e5f53425f434f4d3101"},
		{`Name (A.B.C, One)`, Name(`A.B.C`, Int(1)), "082f03" + "415f5f5f" + "425f5f5f" + "435f5f5f" + "01"},
		{`Scope (\) {}`, Scope(`\`), "10035c00"},
		{`Device (COM1) {}`, Device("COM1"), "5b8205434f4d31"},
		{`ResourceTemplate () { IO }`, ResourceTemplate(IO(0x3f8, 0x3f8, 0, 8)),
			"110d0a0a" + "4701f803f8030008" + "7900"},
		{`ResourceTemplate () { IRQNoFlags () {8} }`, ResourceTemplate(IRQNoFlags(1 << 8)),
			"11080a05" + "220001" + "7900"},
		{`Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {4}`,
			Interrupt(Edge, ActiveHigh, Exclusive, 4), "890600030104000000"},
		{`Interrupt (ResourceConsumer, Level, ActiveLow, Shared) {16, 17}`,
			Interrupt(Level, ActiveLow, Shared, 16, 17), "890a000d021000000011000000"},
		{`Memory32Fixed (ReadWrite, 0xD0000000, 0x101000)`, Memory32Fixed(0xd0000000, 0x101000),
			"86090001000000d000101000"},
		{`WordBusNumber 0-255`, WordBusNumber(0, 255), "880d00020c000000" + "0000ff0000000001"},
		{`WordIO 0x1000-0xFFFF`, WordIO(0x1000, 0xffff), "880d00010c030000" + "0010ffff000000f0"},
	} {
		want, err := hex.DecodeString(tc.want)
		if err != nil {
			t.Fatalf("%s: bad expectation: %v", tc.asl, err)
		}
		if !bytes.Equal(tc.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tc.asl, tc.got, want)
		}
	}
}

// A PkgLength counts itself, so the boundaries of its forms are where an
// encoder goes wrong.
func TestPkgLengthBoundaries(t *testing.T) {
	for _, tc := range []struct {
		body int
		want string
	}{
		{0, "01"}, {62, "3f"}, {63, "4104"}, {4093, "4fff"}, {4094, "810001"},
		{1<<20 - 4, "8fffff"}, {1<<20 - 3, "c1000001"},
	} {
		got := hex.EncodeToString(pkg(make([]byte, tc.body))[:len(tc.want)/2])
		if got != tc.want {
			t.Errorf("body of %d bytes: PkgLength %s, want %s", tc.body, got, tc.want)
		}
	}
}

func TestMalformedPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"lower case name": func() { Name("com1", Int(0)) },
		"leading digit":   func() { Name("1COM", Int(0)) },
		"five letters":    func() { Device("COM10") },
		"empty name":      func() { Device("") },
		"EISA length":     func() { EISAID("PNP501") },
		"EISA vendor":     func() { EISAID("pnp0501") },
		"EISA product":    func() { EISAID("PNP05G1") },
		"not ASCII":       func() { String("é") },
		"big package":     func() { Package(make([][]byte, 256)...) },
		"deep name":       func() { Name(strings.Repeat("A.", 256)+"A", Int(0)) },
		"huge body":       func() { pkg(make([]byte, maxPkgLength)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r, _ := recover().(string); !strings.HasPrefix(r, "aml: ") {
					t.Errorf("panic %q, want one that starts with \"aml: \"", r)
				}
			}()
			f()
		})
	}
}
