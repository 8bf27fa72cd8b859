package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// JobMessage is the payload of Job: the command to run. Its strings are byte
// slices because paths, arguments and variables need not be valid UTF-8, which
// JSON's own strings must be.
type JobMessage struct {
	Path []byte   // absolute
	Args [][]byte // from argument 0 on
	Dir  []byte   // absolute
	Env  [][]byte
	// TTY gives the command a terminal of that size instead of three pipes.
	TTY        bool
	Rows, Cols uint16
	// Returns are the absolute paths, free of symbolic links, that written
	// files come back from: files, or folders with everything below.
	Returns [][]byte
}

// FileMessage is the payload of File: a file that comes back.
type FileMessage struct {
	Path []byte // absolute, free of symbolic links
	Mode uint32 // permission bits
	Size int64
}

// SendJSON sends v, a JobMessage or a FileMessage.
func (c *Conn) SendJSON(t Type, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("send %v: %w", t, err)
	}
	return c.Send(t, payload)
}

// ParseJob reads a Job's payload.
func ParseJob(payload []byte) (JobMessage, error) {
	var m JobMessage
	if err := json.Unmarshal(payload, &m); err != nil {
		return m, fmt.Errorf("receive %v: %w", Job, err)
	}
	if len(m.Path) == 0 || len(m.Args) == 0 {
		return m, fmt.Errorf("receive %v: no command in it", Job)
	}
	return m, nil
}

// ParseFile reads a File's payload.
func ParseFile(payload []byte) (FileMessage, error) {
	var m FileMessage
	if err := json.Unmarshal(payload, &m); err != nil {
		return m, fmt.Errorf("receive %v: %w", File, err)
	}
	return m, nil
}

// SendWords sends a payload of 32-bit numbers: Ready, Signal, Exit.
func (c *Conn) SendWords(t Type, words ...uint32) error {
	var payload []byte
	for _, w := range words {
		payload = binary.LittleEndian.AppendUint32(payload, w)
	}
	return c.Send(t, payload)
}

// ParseWords reads a payload of exactly n 32-bit numbers.
func ParseWords(t Type, payload []byte, n int) ([]uint32, error) {
	if len(payload) != 4*n {
		return nil, fmt.Errorf("receive %v: payload of %d bytes, want %d", t, len(payload), 4*n)
	}
	words := make([]uint32, n)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(payload[4*i:])
	}
	return words, nil
}

// SendWindow sends the size of the caller's terminal.
func (c *Conn) SendWindow(rows, cols uint16) error {
	payload := binary.LittleEndian.AppendUint16(nil, rows)
	return c.Send(Window, binary.LittleEndian.AppendUint16(payload, cols))
}

// ParseWindow reads a Window's payload.
func ParseWindow(payload []byte) (rows, cols uint16, err error) {
	if len(payload) != 4 {
		return 0, 0, fmt.Errorf("receive %v: payload of %d bytes, want 4", Window, len(payload))
	}
	return binary.LittleEndian.Uint16(payload), binary.LittleEndian.Uint16(payload[2:]), nil
}
