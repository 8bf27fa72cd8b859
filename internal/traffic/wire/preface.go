package wire

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// A Token ties a task to its flows.
type Token [16]byte

// NewToken is the controller's.
func NewToken() Token {
	var t Token
	rand.Read(t[:]) // never fails
	return t
}

// MarshalText is in hexadecimal digits.
func (t Token) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, t[:]), nil }

// UnmarshalText is the reverse.
func (t *Token) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(t) {
		return fmt.Errorf("%.40q is not a token", text)
	}
	copy(t[:], b)
	return nil
}

// prefaceSize is that of every connection's start.
const prefaceSize = 24

var magic = [4]byte{'d', 'b', 't', Version}

// ErrNotOurs is a connection from somebody else.
var ErrNotOurs = errors.New("this is no connection of the traffic protocol")

// A Preface says what a connection is for: control, or one flow of a task.
type Preface struct {
	Data  bool
	Flow  int
	Token Token
}

// Write sends it.
func (p Preface) Write(w io.Writer) error {
	b := p.encode()
	_, err := w.Write(b[:])
	return err
}

func (p Preface) encode() [prefaceSize]byte {
	var b [prefaceSize]byte
	copy(b[:], magic[:])
	if p.Data {
		b[4] = 1
	}
	binary.BigEndian.PutUint16(b[6:], uint16(p.Flow))
	copy(b[8:], p.Token[:])
	return b
}

// ReadPreface takes it off a connection, and nothing more.
func ReadPreface(r io.Reader) (Preface, error) {
	var b [prefaceSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Preface{}, err
	}
	if [4]byte(b[:4]) != magic || b[4] > 1 || b[5] != 0 {
		return Preface{}, ErrNotOurs
	}
	return Preface{Data: b[4] == 1, Flow: int(binary.BigEndian.Uint16(b[6:])), Token: Token(b[8:])}, nil
}
