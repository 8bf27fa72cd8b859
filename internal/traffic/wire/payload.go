package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math/bits"
)

// A Check is how both ends make sure that the bytes are the same.
type Check string

// The checks. CheckNone looks at nothing and sends one chunk over and over: the cost is the network's alone. CheckXor folds words
// of 64 bits, at a small cost, and sees changes, losses and swaps unless they are made on purpose. CheckSHA256 is for proof.
const (
	CheckNone   Check = "none"
	CheckXor    Check = "xor"
	CheckSHA256 Check = "sha256"
)

func (c Check) check() error {
	switch c {
	case CheckNone, CheckXor, CheckSHA256:
		return nil
	}
	return fmt.Errorf("check %.20q is not none, xor or sha256", string(c))
}

// A Payload is an endless sequence of bytes that a seed determines.
type Payload struct{ state uint64 }

// NewPayload is the sequence of one flow of a stream.
func NewPayload(seed uint64, flow int) *Payload {
	return &Payload{seed + uint64(flow)*0xd1342543de82ef95}
}

// Fill writes the next bytes: a length that is no multiple of 8 ends the sequence. The generator is SplitMix64.
func (p *Payload) Fill(b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, p.next())
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], p.next())
		copy(b, last[:])
	}
}

func (p *Payload) next() uint64 {
	p.state += 0x9e3779b97f4a7c15
	z := p.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// A Digest is over bytes in the order in which they come, however they are cut.
type Digest struct {
	sha  hash.Hash // of CheckSHA256
	fold bool      // of CheckXor, and what follows
	sum  uint64
	tail [8]byte
	have int
	size uint64
}

// Digest starts one.
func (c Check) Digest() *Digest {
	switch c {
	case CheckSHA256:
		return &Digest{sha: sha256.New()}
	case CheckXor:
		return &Digest{fold: true}
	}
	return &Digest{}
}

// Add takes the next bytes. It allocates nothing.
func (d *Digest) Add(b []byte) {
	switch {
	case d.sha != nil:
		d.sha.Write(b)
	case d.fold:
		d.add(b)
	}
}

func (d *Digest) add(b []byte) {
	d.size += uint64(len(b))
	if d.have > 0 {
		n := copy(d.tail[d.have:], b)
		d.have, b = d.have+n, b[n:]
		if d.have < len(d.tail) {
			return
		}
		d.word(binary.LittleEndian.Uint64(d.tail[:]))
		d.have = 0
	}
	sum := d.sum
	for len(b) >= 8 {
		sum = bits.RotateLeft64(sum, 5) ^ binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	d.sum = sum
	d.have = copy(d.tail[:], b)
}

func (d *Digest) word(w uint64) { d.sum = bits.RotateLeft64(d.sum, 5) ^ w }

// Text is the digest of what was added, in hexadecimal digits; empty for CheckNone.
func (d *Digest) Text() string {
	switch {
	case d.sha != nil:
		return hex.EncodeToString(d.sha.Sum(nil))
	case d.fold:
		end := *d
		clear(end.tail[end.have:])
		end.word(binary.LittleEndian.Uint64(end.tail[:]))
		end.word(end.size)
		return fmt.Sprintf("%016x", end.sum)
	}
	return ""
}
