package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// sendPatience is how long the other side may leave a message unread.
const sendPatience = 30 * time.Second

// A Conn carries messages over a control connection, after its preface. One goroutine receives; any may send.
type Conn struct {
	net.Conn
	reader *bufio.Reader
	mu     sync.Mutex // makes a message one piece on the connection
}

// NewConn wraps a connection.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c, reader: bufio.NewReaderSize(c, 1<<16)} }

// Send writes a message.
func (c *Conn) Send(m Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send %s: %w", m.Kind, err)
	}
	if len(b) >= MaxMessage {
		return fmt.Errorf("send %s: %d bytes where up to %d may be", m.Kind, len(b), MaxMessage-1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	_, err = c.Write(append(b, '\n'))
	return err
}

// Receive reads the next message.
func (c *Conn) Receive() (Message, error) { return readMessage(c.reader) }

// readMessage reads a line of at most MaxMessage bytes.
func readMessage(r *bufio.Reader) (Message, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > MaxMessage {
			return Message{}, fmt.Errorf("message of more than %d bytes", MaxMessage)
		}
		if err == nil && line == nil {
			return parseMessage(part)
		}
		line = append(line, part...)
		switch err {
		case nil:
			return parseMessage(line)
		case bufio.ErrBufferFull:
		case io.EOF:
			if len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return Message{}, err
		default:
			return Message{}, err
		}
	}
}

func parseMessage(line []byte) (Message, error) {
	var m Message
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("message: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return m, errors.New("message: more than one on a line")
	}
	switch m.Kind {
	case KindHello, KindReady, KindResult, KindTask, KindSent, KindCancel:
		return m, nil
	}
	return m, fmt.Errorf("message of kind %.20q", string(m.Kind))
}
