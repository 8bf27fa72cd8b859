package aml

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Data object opcodes (section 20.2.3).
const (
	zeroOp       = 0x00
	oneOp        = 0x01
	bytePrefix   = 0x0a
	wordPrefix   = 0x0b
	dwordPrefix  = 0x0c
	stringPrefix = 0x0d
	qwordPrefix  = 0x0e
	bufferOp     = 0x11
	packageOp    = 0x12
)

// Int encodes an integer in its shortest form.
func Int(v uint64) []byte {
	switch {
	case v == 0:
		return []byte{zeroOp}
	case v == 1:
		return []byte{oneOp}
	case v <= 0xff:
		return []byte{bytePrefix, byte(v)}
	case v <= 0xffff:
		return binary.LittleEndian.AppendUint16([]byte{wordPrefix}, uint16(v))
	case v <= 0xffffffff:
		return binary.LittleEndian.AppendUint32([]byte{dwordPrefix}, uint32(v))
	}
	return binary.LittleEndian.AppendUint64([]byte{qwordPrefix}, v)
}

// String encodes a string of ASCII characters 0x01-0x7f.
func String(s string) []byte {
	for i := range len(s) {
		if s[i] == 0 || s[i] > 0x7f {
			panic(fmt.Sprintf("aml: string %q is not ASCII", s))
		}
	}
	out := append([]byte{stringPrefix}, s...)
	return append(out, 0)
}

// EISAID encodes a Plug and Play identifier of the form "PNP0501" as the
// 32-bit integer that ASL's EISAID() macro makes (section 19.6.37): three
// letters of five bits, four hexadecimal digits, stored big-endian.
func EISAID(id string) []byte {
	if len(id) != 7 {
		panic(fmt.Sprintf("aml: %q is not an EISA identifier", id))
	}
	var vendor uint32
	for _, c := range []byte(id[:3]) {
		if c < 'A' || c > 'Z' {
			panic(fmt.Sprintf("aml: %q is not an EISA identifier", id))
		}
		vendor = vendor<<5 | uint32(c-'A'+1)
	}
	product, err := strconv.ParseUint(id[3:], 16, 16)
	if err != nil || strings.ToUpper(id) != id {
		panic(fmt.Sprintf("aml: %q is not an EISA identifier", id))
	}
	return binary.BigEndian.AppendUint32([]byte{dwordPrefix}, vendor<<16|uint32(product))
}

// Buffer encodes a buffer that holds data.
func Buffer(data []byte) []byte {
	return append([]byte{bufferOp}, pkg(append(Int(uint64(len(data))), data...))...)
}

// Package encodes a package of at most 255 elements.
func Package(elements ...[]byte) []byte {
	if len(elements) > 255 {
		panic(fmt.Sprintf("aml: package of %d elements", len(elements)))
	}
	return append([]byte{packageOp}, pkg(join([]byte{byte(len(elements))}, elements))...)
}

func join(first []byte, rest [][]byte) []byte {
	n := len(first)
	for _, r := range rest {
		n += len(r)
	}
	out := append(make([]byte, 0, n), first...)
	for _, r := range rest {
		out = append(out, r...)
	}
	return out
}
