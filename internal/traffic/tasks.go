package traffic

import (
	"context"
	"errors"
	"strings"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/traffic/wire"
)

// errNoResult is a guest that answers something else.
var errNoResult = errors.New("guest: the answer is to another question")

// Snapshot returns the guest's counters and its card's settings. The question itself is a few packets.
func (g *Guest) Snapshot(ctx context.Context) (wire.Snapshot, error) {
	return snapshot(g.do(ctx, &wire.Task{Snapshot: &wire.Empty{}}))
}

// Configure changes the guest's card and returns what is set afterwards.
func (g *Guest) Configure(ctx context.Context, c wire.Configure) (wire.Snapshot, error) {
	return snapshot(g.do(ctx, &wire.Task{Configure: &c}))
}

func snapshot(r *wire.Result, err error) (wire.Snapshot, error) {
	if err == nil && r.Snapshot == nil {
		err = errNoResult
	}
	if err != nil {
		return wire.Snapshot{}, err
	}
	return *r.Snapshot, nil
}

// Resolve asks the guest for a name's IPv4 addresses; by a server ADDRESS:PORT, or its own when that is empty.
func (g *Guest) Resolve(ctx context.Context, name, server string) (wire.Resolved, error) {
	r, err := g.do(ctx, &wire.Task{Resolve: &wire.Resolve{Name: name, Server: server}})
	if err == nil && r.Resolved == nil {
		err = errNoResult
	}
	if err != nil {
		return wire.Resolved{}, err
	}
	return *r.Resolved, nil
}

// Ping has the guest send echo requests with a number of bytes of data, each of which has a time to be answered.
func (g *Guest) Ping(ctx context.Context, host string, count, bytes int, timeout time.Duration) (guestreport.PingResult, error) {
	r, err := g.do(ctx, &wire.Task{Ping: &wire.Ping{Host: host, Count: count, Bytes: bytes, TimeoutNs: timeout.Nanoseconds()}})
	if err == nil && r.Ping == nil {
		err = errNoResult
	}
	if err != nil {
		return guestreport.PingResult{}, err
	}
	return *r.Ping, nil
}

// Fetch has the guest get http://HOST[:PORT]/PATH.
func (g *Guest) Fetch(ctx context.Context, url string) (guestreport.FetchResult, error) {
	r, err := g.do(ctx, &wire.Task{Fetch: &wire.Fetch{URL: url}})
	if err == nil && r.Fetch == nil {
		err = errNoResult
	}
	if err != nil {
		return guestreport.FetchResult{}, err
	}
	return *r.Fetch, nil
}

// End has the guest's agent finish: it powers the guest off, or does what else it was told to.
func (g *Guest) End(ctx context.Context) error {
	_, err := g.do(ctx, &wire.Task{End: &wire.Empty{}})
	return err
}

// oneLine is for texts of the guest's.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
