package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/traffic/guest"
	"doorbell/internal/traffic/wire"
)

// fetchPatience bounds a transfer, however slowly it goes on.
const fetchPatience = time.Hour

// parseTraffic reads HOST:PORT.
func parseTraffic(value string) (workload, error) {
	host, port, err := net.SplitHostPort(value)
	if number, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || number == 0 || host == "" {
		return workload{}, fmt.Errorf("not HOST:PORT")
	}
	return workload{func(*guestreport.WorkloadResult) error { return guest.Serve(context.Background(), value) }}, nil
}

// parseFetch reads http://HOST[:PORT]/PATH.
func parseFetch(url string) (workload, error) {
	if _, _, err := guest.SplitURL(url); err != nil {
		return workload{}, err
	}
	return workload{func(result *guestreport.WorkloadResult) error {
		ctx, cancel := context.WithTimeout(context.Background(), fetchPatience)
		defer cancel()
		f, err := guest.Fetch(ctx, url)
		if err != nil {
			return err
		}
		result.Fetch = f
		_, err = os.Stdout.WriteString(fetchLine(f))
		return err
	}}, nil
}

func fetchLine(f *guestreport.FetchResult) string {
	return fmt.Sprintf("fetch: %s: %d bytes in %.2f s, sha256 %s\n", f.URL, f.Bytes, float64(f.DurationNs)/1e9, f.SHA256)
}

// parsePing reads HOST[,COUNT].
func parsePing(value string) (workload, error) {
	host, text, counted := strings.Cut(value, ",")
	count := 4
	if counted {
		var err error
		if count, err = strconv.Atoi(text); err != nil || count < 1 || count > wire.MaxPings {
			return workload{}, fmt.Errorf("not a number of requests up to %d", wire.MaxPings)
		}
	}
	if host == "" {
		return workload{}, fmt.Errorf("no host")
	}
	return workload{func(result *guestreport.WorkloadResult) error {
		p, err := guest.Ping(context.Background(), guest.PingOptions{Host: host, Count: count})
		if err != nil {
			return err
		}
		result.Ping = p
		if _, err := os.Stdout.WriteString(pingLine(host, p)); err != nil {
			return err
		}
		if p.Received == 0 {
			return fmt.Errorf("ping %s: no answer", host)
		}
		return nil
	}}, nil
}

func pingLine(host string, p *guestreport.PingResult) string {
	line := fmt.Sprintf("ping: %s (%s): %d of %d answered", host, p.Address, p.Received, p.Sent)
	if len(p.RTTsNs) > 0 {
		sorted := slices.Sorted(slices.Values(p.RTTsNs))
		line += fmt.Sprintf(", least %.3f ms, median %.3f ms, most %.3f ms",
			float64(sorted[0])/1e6, float64(sorted[len(sorted)/2])/1e6, float64(sorted[len(sorted)-1])/1e6)
	}
	return line + "\n"
}
