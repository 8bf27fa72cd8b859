package aml

import "fmt"

// maxPkgLength is the largest value PkgLength can hold: 28 bits.
const maxPkgLength = 1<<28 - 1

// pkg puts a PkgLength in front of body (section 20.2.4). The length counts
// its own bytes: one byte holds 6 bits of it; with more, the lead byte holds
// the count of following bytes in bits 7:6 and the low nibble of the length.
func pkg(body []byte) []byte {
	n := len(body) + 1
	if n <= 0x3f {
		return append([]byte{byte(n)}, body...)
	}
	for follow := 1; follow <= 3; follow++ {
		n = len(body) + 1 + follow
		if n >= 1<<(4+8*follow) {
			continue
		}
		out := make([]byte, 0, n)
		out = append(out, byte(follow<<6|n&0xf))
		for i := range follow {
			out = append(out, byte(n>>(4+8*i)))
		}
		return append(out, body...)
	}
	panic(fmt.Sprintf("aml: package of %d bytes exceeds PkgLength's %d", len(body), maxPkgLength))
}
