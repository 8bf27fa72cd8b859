// Package traffic makes a guest send, receive and tell: streams, round trips and datagrams between the guest and this process, and
// what the guest's kernel counted meanwhile. It knows nothing of what runs the guest, so that two VMMs are measured by the same means.
//
//	c, err := traffic.Listen("127.0.0.1:0")         // where the guest can reach it
//	...                                             // boot a guest with doorbell.workload=traffic=HOST:PORT
//	g, err := c.Accept(ctx)
//	before, err := g.Snapshot(ctx)
//	r, err := g.StreamDown(ctx, traffic.StreamOptions{BytesPerFlow: 100 << 20, Check: wire.CheckSHA256})
//	after, err := g.Snapshot(ctx)                   // after.Since(&before)
//	err = g.End(ctx)
//
// The guest connects to the controller, for data too, so that it may be behind a translator of addresses; see Placement for the
// other direction. Package wire has the protocol, package guest the other half.
//
// Tasks of one guest may run at the same time. Each ends with its context.
package traffic
