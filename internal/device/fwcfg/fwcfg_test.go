package fwcfg

import (
	"bytes"
	"testing"
)

func read(d *Device, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		d.Read(data, b[i:i+1])
	}
	return b
}

func TestItems(t *testing.T) {
	d := New(Config{VCPUs: 258, Memory: 0x1_2345_6000})
	for _, c := range []struct {
		key  uint16
		want string
	}{
		{keySignature, "QEMU"}, {keyID, "\x01\x00\x00\x00"}, {keyRAMSize, "\x00\x60\x45\x23\x01\x00\x00\x00"},
		{keyNumCPUs, "\x02\x01"}, {keyMaxCPUs, "\x02\x01"}, {keyFileDir, "\x00\x00\x00\x00"}, {0x8123, ""},
	} {
		for range 2 { // a selection begins anew
			d.Write(selector, []byte{byte(c.key), byte(c.key >> 8)})
			// After an item's end there are zeros.
			if got, want := read(d, len(c.want)+3), append([]byte(c.want), 0, 0, 0); !bytes.Equal(got, want) {
				t.Errorf("item %#x: % x, want % x", c.key, got, want)
			}
		}
	}
}

func TestOtherAccesses(t *testing.T) {
	d := New(Config{VCPUs: 1})
	d.Write(selector, []byte{keyNumCPUs})       // 8 bits select nothing
	d.Write(data, []byte{keyNumCPUs, 0})        // nor does the data port
	d.Write(selector, []byte{keyNumCPUs, 0, 0}) // nor do other widths
	b := []byte{1, 2}
	d.Read(selector, b) // 16 bits reach into the data port
	if got := append(b, read(d, 3)...); string(got) != "\x00QEMU" {
		t.Errorf("read %q", got)
	}
}

func FuzzDevice(f *testing.F) {
	f.Add([]byte{0, 2, 5, 0, 0x81, 1, 0x81, 1})
	f.Fuzz(func(t *testing.T, ops []byte) {
		d := New(Config{VCPUs: 4, Memory: 1 << 30})
		for ; len(ops) >= 4; ops = ops[4:] {
			off, n := uint64(ops[0]&0x7f), int(ops[1]%9)
			p := make([]byte, n)
			if ops[0]&0x80 != 0 {
				d.Read(off, p)
			} else {
				copy(p, ops[2:])
				d.Write(off, p)
			}
			_ = d.RegisterName(off, false)
		}
	})
}
