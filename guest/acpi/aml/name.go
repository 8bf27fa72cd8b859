package aml

import (
	"fmt"
	"strings"
)

// Prefixes of a NameString with a root or with several segments (section
// 20.2.2).
const (
	rootChar        = '\\'
	dualNamePrefix  = 0x2e
	multiNamePrefix = 0x2f
	nullName        = 0x00
)

// nameString encodes a path such as `\_SB.COM1`, `_CRS` or `\`. Segments
// shorter than four characters are padded with '_', as an ASL compiler does.
func nameString(path string) []byte {
	var out []byte
	rest := path
	if strings.HasPrefix(rest, string(rootChar)) {
		out = append(out, rootChar)
		rest = rest[1:]
	}
	if rest == "" && len(out) > 0 {
		return append(out, nullName)
	}
	segs := strings.Split(rest, ".")
	switch {
	case len(segs) == 2:
		out = append(out, dualNamePrefix)
	case len(segs) > 255:
		panic(fmt.Sprintf("aml: name with %d segments", len(segs)))
	case len(segs) > 2:
		out = append(out, multiNamePrefix, byte(len(segs)))
	}
	for _, s := range segs {
		out = append(out, nameSeg(s)...)
	}
	return out
}

// nameSeg encodes one segment: a lead character A-Z or '_', then up to three
// of A-Z, 0-9 and '_'.
func nameSeg(s string) []byte {
	ok := len(s) >= 1 && len(s) <= 4
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		letter := c == '_' || c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		ok = letter || digit && i > 0
	}
	if !ok {
		panic(fmt.Sprintf("aml: %q is not a name segment", s))
	}
	return []byte((s + "___")[:4])
}
