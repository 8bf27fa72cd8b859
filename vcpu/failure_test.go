package vcpu

import "testing"

func TestDisassemble(t *testing.T) {
	for _, c := range []struct {
		code []byte
		mode int
		want string
	}{
		{[]byte{0x0f, 0x0b, 0x90}, 64, "ud2 (0f 0b)"},
		{[]byte{0xee}, 64, "out dx, al (ee)"},
		{[]byte{0xf3, 0x0f, 0xb8, 0xc8}, 64, "popcnt ecx, eax (f3 0f b8 c8)"},
		{[]byte{0x0f}, 64, "undecodable bytes 0f"},
	} {
		if got := Disassemble(c.code, c.mode, 0x1000); got != c.want {
			t.Errorf("% x: %q, want %q", c.code, got, c.want)
		}
	}
}

func FuzzDisassemble(f *testing.F) {
	f.Add([]byte{0x0f, 0x0b}, uint8(64))
	f.Fuzz(func(t *testing.T, code []byte, mode uint8) {
		Disassemble(code, []int{16, 32, 64}[mode%3], 0)
	})
}
