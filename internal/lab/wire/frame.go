package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// Version changes whenever frames change their meaning.
const Version = 2

const (
	headerSize = 5
	// MaxPayload bounds what a receiver allocates. Only a Job comes near it:
	// it carries the environment.
	MaxPayload = 1 << 20
	// Chunk is the payload that data is cut into. Linux's virtio_console
	// takes at most 32 KiB per write, so a frame of this size is one write.
	Chunk = 32<<10 - headerSize
	// StdinWindow is the number of Stdin frames that may be under way.
	StdinWindow = 16
)

// AliveEvery is how often L1 says that it is there, so that one that hangs is told from one with nothing to say.
const AliveEvery = 5 * time.Second

// Type tells what a frame's payload is.
type Type uint8

// The frame types; the package comment tells their payloads.
const (
	Job Type = iota + 1
	Stdin
	StdinEOF
	Signal
	Window
)

const (
	Ready Type = iota + 0x81
	Started
	StdinCredit
	Stdout
	Stderr
	File
	FileData
	FileEnd
	Exit
	Fail
	Alive
)

var typeNames = map[Type]string{
	Job: "Job", Stdin: "Stdin", StdinEOF: "StdinEOF", Signal: "Signal", Window: "Window",
	Ready: "Ready", Started: "Started", StdinCredit: "StdinCredit", Stdout: "Stdout", Stderr: "Stderr",
	File: "File", FileData: "FileData", FileEnd: "FileEnd", Exit: "Exit", Fail: "Fail", Alive: "Alive",
}

func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("Type(%#x)", uint8(t))
}

// A Conn sends and receives frames. Send may be called by several goroutines
// at once, Receive by one.
type Conn struct {
	rw io.ReadWriter

	mu  sync.Mutex // held while a frame is written, so that frames stay whole
	out []byte

	in []byte
}

// NewConn returns a Conn on rw, whose Writes must write everything or fail.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{rw: rw, in: make([]byte, headerSize+Chunk)}
}

// Send writes one frame with a single Write.
func (c *Conn) Send(t Type, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("send %v: %d bytes, at most %d fit a frame", t, len(payload), MaxPayload)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out[:0], byte(t))
	c.out = binary.LittleEndian.AppendUint32(c.out, uint32(len(payload)))
	c.out = append(c.out, payload...)
	if _, err := c.rw.Write(c.out); err != nil {
		return fmt.Errorf("send %v: %w", t, err)
	}
	return nil
}

// Receive reads one frame. The payload is valid until the next call. The
// error is io.EOF when the stream ends between two frames.
func (c *Conn) Receive() (Type, []byte, error) {
	header := c.in[:headerSize]
	if _, err := io.ReadFull(c.rw, header); err != nil {
		if err == io.EOF {
			return 0, nil, io.EOF
		}
		return 0, nil, fmt.Errorf("receive a frame: %w", err)
	}
	t, length := Type(header[0]), binary.LittleEndian.Uint32(header[1:])
	if _, ok := typeNames[t]; !ok {
		return 0, nil, fmt.Errorf("receive a frame: unknown type %#x", uint8(t))
	}
	if length > MaxPayload {
		return 0, nil, fmt.Errorf("receive %v: %d bytes, at most %d fit a frame", t, length, MaxPayload)
	}
	if int(length) > len(c.in) {
		c.in = make([]byte, length)
	}
	payload := c.in[:length]
	if _, err := io.ReadFull(c.rw, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, fmt.Errorf("receive %v: %w", t, err)
	}
	return t, payload, nil
}

// Writer returns a writer that sends what it is given as frames of type t.
func (c *Conn) Writer(t Type) io.Writer { return frameWriter{c, t} }

type frameWriter struct {
	c *Conn
	t Type
}

func (w frameWriter) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n := min(len(b)-done, Chunk)
		if err := w.c.Send(w.t, b[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(b), nil
}
