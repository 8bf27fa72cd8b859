package guest

import (
	"context"
	"fmt"
	"net"
	"time"

	"doorbell/internal/traffic/wire"
)

// resolvePatience bounds a look-up whatever the resolver's own times are.
const resolvePatience = 20 * time.Second

// resolve asks the given server, or those of the guest's configuration.
func resolve(ctx context.Context, r *wire.Resolve) (*wire.Resolved, error) {
	ctx, cancel := context.WithTimeout(ctx, resolvePatience)
	defer cancel()
	resolver := net.Resolver{PreferGo: true}
	if r.Server != "" {
		resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, r.Server)
		}
	}
	start := time.Now()
	addresses, err := resolver.LookupNetIP(ctx, "ip4", r.Name)
	if err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	answer := &wire.Resolved{DurationNs: since(start)}
	for _, a := range addresses {
		answer.Addresses = append(answer.Addresses, a.Unmap().String())
	}
	return answer, nil
}
