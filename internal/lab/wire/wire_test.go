package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFramesArriveAsSent(t *testing.T) {
	var stream bytes.Buffer
	c := NewConn(&stream)
	type frame struct {
		Type    Type
		Payload string
	}
	want := []frame{
		{Ready, "\x01\x00\x00\x00"}, {Stdin, "some input"}, {StdinEOF, ""}, {Signal, "\x0f\x00\x00\x00"},
		{Job, strings.Repeat("j", MaxPayload)}, {Stdout, "\x00\xff"}, {Window, "\x18\x00\x50\x00"},
	}
	if err := errors.Join(
		c.SendWords(Ready, 1), c.Send(Stdin, []byte("some input")), c.Send(StdinEOF, nil), c.SendWords(Signal, 15),
		c.Send(Job, bytes.Repeat([]byte("j"), MaxPayload)), c.Send(Stdout, []byte{0, 0xff}), c.SendWindow(24, 80),
	); err != nil {
		t.Fatal(err)
	}
	var got []frame
	for {
		typ, payload, err := c.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, frame{typ, string(payload)})
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReceiveRefuses(t *testing.T) {
	for name, test := range map[string]struct{ stream, want string }{
		"a broken header":   {"\x84\x01", "unexpected EOF"},
		"a broken payload":  {"\x84\x05\x00\x00\x00abc", "receive Stdout: unexpected EOF"},
		"a missing payload": {"\x84\x05\x00\x00\x00", "receive Stdout: unexpected EOF"},
		"an unknown type":   {"\x70\x00\x00\x00\x00", "unknown type 0x70"},
		"a huge payload":    {"\x84\xff\xff\xff\xff", "receive Stdout: 4294967295 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := NewConn(bytes.NewBufferString(test.stream)).Receive()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestSendRefusesAHugePayload(t *testing.T) {
	err := NewConn(&bytes.Buffer{}).Send(Job, make([]byte, MaxPayload+1))
	if err == nil || !strings.Contains(err.Error(), "send Job: 1048577 bytes") {
		t.Errorf("got %v", err)
	}
}

// TestConcurrentSendersKeepFramesWhole sends both outputs at once, as a
// command does, and expects every frame whole and each stream in order.
func TestConcurrentSendersKeepFramesWhole(t *testing.T) {
	r, w := io.Pipe()
	sender := NewConn(struct {
		io.Reader
		io.Writer
	}{nil, w})
	out := map[Type][]byte{Stdout: make([]byte, 300_000), Stderr: make([]byte, 200_000)}
	var senders sync.WaitGroup
	for typ, data := range out {
		for i := range data {
			data[i] = byte(i) + byte(typ)
		}
		senders.Go(func() {
			if _, err := sender.Writer(typ).Write(data); err != nil {
				t.Error(err)
			}
		})
	}
	go func() { senders.Wait(); w.Close() }()
	receiver := NewConn(struct {
		io.Reader
		io.Writer
	}{r, nil})
	got := map[Type][]byte{}
	for {
		typ, payload, err := receiver.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(payload) > Chunk {
			t.Fatalf("a frame of %d bytes, want at most %d", len(payload), Chunk)
		}
		got[typ] = append(got[typ], payload...)
	}
	for typ := range out {
		if !bytes.Equal(out[typ], got[typ]) {
			t.Errorf("%v arrived changed", typ)
		}
	}
}

func TestJobKeepsBytesThatAreNotText(t *testing.T) {
	var stream bytes.Buffer
	c := NewConn(&stream)
	want := JobMessage{Path: []byte("/bin/\xff"), Args: [][]byte{[]byte("\xfe\x01")}, Dir: []byte("/"), Env: [][]byte{[]byte("A=\x80")}, TTY: true, Rows: 24, Cols: 80}
	if err := c.SendJSON(Job, want); err != nil {
		t.Fatal(err)
	}
	_, payload, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseJob(payload)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := ParseJob([]byte(`{}`)); err == nil {
		t.Error("a job without a command was taken")
	}
}

func FuzzReceive(f *testing.F) {
	var stream bytes.Buffer
	c := NewConn(&stream)
	_ = c.SendJSON(Job, JobMessage{Path: []byte("/bin/true"), Args: [][]byte{[]byte("true")}})
	_ = c.SendWords(Exit, 7, 0)
	_ = c.SendJSON(File, FileMessage{Path: []byte("/r.json"), Mode: 0o644, Size: 3})
	_ = c.SendWindow(24, 80)
	f.Add(stream.Bytes())
	f.Add([]byte("\x84\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		c := NewConn(bytes.NewBuffer(stream))
		for read := 0; ; {
			typ, payload, err := c.Receive()
			if err != nil {
				return
			}
			if read += headerSize + len(payload); read > len(stream) {
				t.Fatalf("frames of %d bytes from a stream of %d", read, len(stream))
			}
			switch typ {
			case Job:
				if m, err := ParseJob(payload); err == nil && len(m.Args) == 0 {
					t.Fatal("a job without arguments")
				}
			case File:
				_, _ = ParseFile(payload)
			case Window:
				if _, _, err := ParseWindow(payload); (err == nil) != (len(payload) == 4) {
					t.Fatalf("a window of %d bytes: %v", len(payload), err)
				}
			case Ready, Signal:
				_, _ = ParseWords(typ, payload, 1)
			case Exit:
				_, _ = ParseWords(typ, payload, 2)
			}
		}
	})
}
