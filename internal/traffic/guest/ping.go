package guest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"doorbell/internal/guestreport"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// PingOptions say what to send.
type PingOptions struct {
	Host  string
	Count int // 4 if 0
	Bytes int // of data; 56 if 0, as ping(8) does
	// Timeout is for each answer, a second if 0; the next request follows the answer at once.
	Timeout time.Duration
}

// Ping sends echo requests (RFC 792) one after the other. That none is answered is no error.
func Ping(ctx context.Context, o PingOptions) (*guestreport.PingResult, error) {
	if o.Count == 0 {
		o.Count = 4
	}
	if o.Bytes == 0 {
		o.Bytes = 56
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	result, err := ping(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("ping %s: %w", o.Host, err)
	}
	return result, nil
}

func ping(ctx context.Context, o PingOptions) (*guestreport.PingResult, error) {
	lookup, cancel := context.WithTimeout(ctx, resolvePatience)
	defer cancel()
	addresses, err := (&net.Resolver{PreferGo: true}).LookupNetIP(lookup, "ip4", o.Host)
	if err != nil {
		return nil, err
	}
	to := addresses[0].Unmap()
	// A raw socket needs root, which the guest's agent is; the other kind needs net.ipv4.ping_group_range.
	var peer net.Addr = &net.IPAddr{IP: to.AsSlice()}
	c, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if errors.Is(err, os.ErrPermission) {
		peer = &net.UDPAddr{IP: to.AsSlice()}
		c, err = icmp.ListenPacket("udp4", "0.0.0.0")
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	result := &guestreport.PingResult{Address: to.String()}
	data := make([]byte, o.Bytes)
	// The run's number is the first of the data: the kernel changes the identifier of the unprivileged kind.
	run := byte(rand.Uint32())
	id := rand.Uint32()
	for seq := range o.Count {
		if len(data) > 0 {
			data[0] = run
		}
		request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(uint16(id)), Seq: seq + 1, Data: data}}
		b, err := request.Marshal(nil)
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		c.SetReadDeadline(start.Add(o.Timeout))
		if _, err := c.WriteTo(b, peer); err != nil {
			return nil, err
		}
		result.Sent++
		ok, err := awaitEcho(c, peer, seq+1, data)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if ok {
			result.Received++
			result.RTTsNs = append(result.RTTsNs, since(start))
		}
	}
	return result, nil
}

// awaitEcho reads until the answer comes (true) or its time is over.
func awaitEcho(c *icmp.PacketConn, peer net.Addr, seq int, data []byte) (bool, error) {
	b := make([]byte, len(data)+128)
	for {
		n, from, err := c.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		m, err := icmp.ParseMessage(1, b[:n]) // IPPROTO_ICMP
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply || from.String() != peer.String() {
			continue
		}
		if e, ok := m.Body.(*icmp.Echo); ok && e.Seq == seq && string(e.Data) == string(data) {
			return true, nil
		}
	}
}
