package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"doorbell/internal/traffic/wire"
)

// liar is a guest that speaks the protocol and answers what a test wants.
func liar(t *testing.T, answer func(task *wire.Task, control *wire.Conn, address string) *wire.Result) (context.Context, *Guest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp4", c.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	control := wire.NewConn(conn)
	if err := errors.Join((wire.Preface{}).Write(conn), control.Send(wire.Message{Kind: wire.KindHello, Hello: &wire.Hello{Version: wire.Version}})); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := control.Receive()
			if err != nil {
				return
			}
			if m.Kind != wire.KindTask {
				continue
			}
			if r := answer(m.Task, control, c.Addr().String()); r != nil {
				control.Send(wire.Message{Kind: wire.KindResult, ID: m.ID, Result: r})
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		c.Close()
		<-done
	})
	g, err := c.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ctx, g
}

// What arrives is compared, not believed.
func TestWrongContents(t *testing.T) {
	const size = 1000
	for want, lie := range map[string]wire.Flow{
		"stream up: flow 0: the contents differ: digest ":     {Bytes: size, Digest: "5ca1ab1e"},
		"stream up: flow 0: the guest has 999 of 1000 bytes":  {Bytes: size - 1},
		"stream up: guest: the answer is to another question": {LocalPort: 1},
	} {
		ctx, g := liar(t, func(task *wire.Task, _ *wire.Conn, address string) *wire.Result {
			c, err := net.Dial("tcp4", address)
			if err != nil {
				t.Error(err)
				return nil
			}
			defer c.Close()
			(wire.Preface{Data: true, Token: task.Stream.Token}).Write(c)
			io.ReadFull(c, make([]byte, 1))
			c.Write(make([]byte, size))
			io.Copy(io.Discard, c)
			if lie.LocalPort != 0 {
				return &wire.Result{}
			}
			return &wire.Result{Flows: []wire.Flow{lie}}
		})
		_, err := g.StreamUp(ctx, StreamOptions{BytesPerFlow: size, Check: wire.CheckSHA256})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// A guest that ends a task before it began, or loses datagrams, or says nonsense.
func TestOddGuests(t *testing.T) {
	ctx, g := liar(t, func(task *wire.Task, control *wire.Conn, _ string) *wire.Result {
		switch {
		case task.Packets != nil:
			c, err := net.Dial("udp4", fmt.Sprint("127.0.0.1:", task.Packets.Port))
			if err != nil {
				t.Error(err)
				return nil
			}
			defer c.Close()
			b := make([]byte, task.Packets.Bytes)
			for _, n := range []uint32{0, 3, 2, 3} { // 1 is lost, 2 is late, 3 comes twice
				wire.Datagram{Key: task.Packets.Token.Key(), Type: wire.DatagramData, Sequence: n}.Put(b)
				c.Write(b)
			}
			return &wire.Result{Flows: []wire.Flow{{Packets: task.Packets.Each}}}
		case task.Ping != nil:
			control.Send(wire.Message{Kind: wire.KindTask, ID: 1})
			return nil
		}
		return &wire.Result{}
	})
	r, err := g.PacketsUp(ctx, PacketOptions{PerFlow: 4})
	if err != nil || r.Sent != 4 || r.Received != 3 || r.Lost() != 1 || r.Reordered != 1 || r.Duplicates != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := g.StreamDown(ctx, StreamOptions{BytesPerFlow: 10}); err == nil || err.Error() != "stream down: the guest ended before it began" {
		t.Errorf("error %v", err)
	}
	if _, err := g.Snapshot(ctx); !errors.Is(err, errNoResult) {
		t.Errorf("error %v", err)
	}
	if _, err := g.Ping(ctx, "host", 1, 1, time.Second); err == nil || err.Error() != "guest: a message of kind task" {
		t.Errorf("error %v", err)
	}
	if _, err := g.Resolve(ctx, "host", ""); err == nil || err.Error() != "guest: a message of kind task" {
		t.Errorf("error %v", err)
	}
}

// Strangers are shown out; the controller goes on.
func TestStrangers(t *testing.T) {
	ctx, c, g, served := pair(t)
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: somebody\r\n\r\n", "", string(make([]byte, 24)), "dbt\x01\x01\x00\x00\x00nobody's token!!", "dbt\x01\x00\x00\x00\x00................{}\n"} {
		conn, err := net.Dial("tcp4", c.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(conn); len(b) != 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.20q: %q, %v", text, b, err)
		}
		conn.Close()
	}
	ended(t, ctx, g, served)
}
