package guest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"doorbell/internal/guestreport"
)

// Limits of what a server may send before the body.
const (
	maxHeaders    = 100
	maxHeaderLine = 16 << 10
)

// fetchSilence is how long a server may say nothing.
const fetchSilence = 30 * time.Second

// Fetch gets a document of HTTP (RFC 9112) and keeps its size and digest. Only http://HOST[:PORT]/PATH is known; the package of the
// standard library would double the size of a guest's agent. Redirections are not followed.
func Fetch(ctx context.Context, url string) (*guestreport.FetchResult, error) {
	host, path, err := SplitURL(url)
	if err != nil {
		return nil, err
	}
	result, err := fetch(ctx, host, path)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", url, err)
	}
	result.URL = url
	return result, nil
}

// SplitURL returns HOST:PORT and the path.
func SplitURL(url string) (host, path string, err error) {
	rest, ok := strings.CutPrefix(url, "http://")
	host, path, _ = strings.Cut(rest, "/")
	if !strings.Contains(host, ":") {
		host += ":80"
	}
	name, port, splitErr := net.SplitHostPort(host)
	if number, err := strconv.ParseUint(port, 10, 16); !ok || splitErr != nil || err != nil || number == 0 || name == "" || strings.ContainsFunc(url, notInURL) {
		return "", "", fmt.Errorf("%.80q is not http://HOST[:PORT]/PATH", url)
	}
	return host, "/" + path, nil
}

// notInURL is what would end a request's line, or is spelled otherwise (RFC 3986).
func notInURL(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`@#"<>\^{}|`+"`", r) }

func fetch(ctx context.Context, host, path string) (*guestreport.FetchResult, error) {
	start := time.Now()
	c, err := (&net.Dialer{Timeout: connectPatience}).DialContext(ctx, "tcp4", host)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	request := "GET " + path + " HTTP/1.1\r\nHost: " + strings.TrimSuffix(host, ":80") + "\r\nUser-Agent: doorbell-agent\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	result, err := readResponse(bufio.NewReaderSize(&impatient{c}, maxHeaderLine))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	result.DurationNs = since(start)
	return result, nil
}

// impatient gives up on a connection on which nothing comes.
type impatient struct{ net.Conn }

func (c *impatient) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(fetchSilence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// readResponse takes the status line, the fields and the body.
func readResponse(r *bufio.Reader) (*guestreport.FetchResult, error) {
	line, err := headerLine(r)
	if err != nil {
		return nil, fmt.Errorf("status line: %w", unexpected(err))
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(code) != 3 {
		return nil, fmt.Errorf("status line %.60q is not HTTP/1's", line)
	}
	if status/100 != 2 {
		return nil, fmt.Errorf("HTTP status %.60q", rest)
	}
	length, chunked := int64(-1), false
	for n := 0; ; n++ {
		if line, err = headerLine(r); err != nil {
			return nil, fmt.Errorf("header fields: %w", unexpected(err))
		}
		if n == maxHeaders {
			return nil, fmt.Errorf("more than %d header fields", maxHeaders)
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.ParseInt(value, 10, 64); err != nil || length < 0 {
				return nil, fmt.Errorf("content length %.40q", value)
			}
		case "transfer-encoding":
			if chunked = strings.EqualFold(value, "chunked"); !chunked {
				return nil, fmt.Errorf("transfer encoding %.40q is not known", value)
			}
		}
	}
	var body io.Reader = r
	switch {
	case chunked:
		body = &chunks{r: r}
	case length >= 0:
		body = io.LimitReader(r, length)
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{body}, make([]byte, 64<<10))
	if err == nil && !chunked && length >= 0 && n != length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("after %d bytes: %w", n, err)
	}
	return &guestreport.FetchResult{Status: int(status), Bytes: uint64(n), SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// headerLine is without its end.
func headerLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// chunks reads a body of the chunked coding (RFC 9112, 7.1); extensions and trailers are passed over.
type chunks struct {
	r    *bufio.Reader
	left uint64
	some bool // a chunk has been read: its end of line follows
	end  error
}

func (c *chunks) Read(b []byte) (int, error) {
	if c.end != nil {
		return 0, c.end
	}
	if c.left == 0 {
		if c.end = c.next(); c.end != nil {
			return 0, c.end
		}
	}
	n, err := c.r.Read(b[:min(uint64(len(b)), c.left)])
	c.left -= uint64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the size of a chunk; io.EOF after the last.
func (c *chunks) next() error {
	if c.some {
		if line, err := headerLine(c.r); err != nil || line != "" {
			return errors.New("a chunk does not end where it should")
		}
	}
	c.some = true
	line, err := headerLine(c.r)
	if err != nil {
		return fmt.Errorf("chunk size: %w", unexpected(err))
	}
	size, _, _ := strings.Cut(line, ";")
	if c.left, err = strconv.ParseUint(strings.TrimSpace(size), 16, 62); err != nil {
		return fmt.Errorf("chunk size %.20q", line)
	}
	if c.left > 0 {
		return nil
	}
	for range maxHeaders {
		line, err := headerLine(c.r)
		if err != nil {
			return fmt.Errorf("trailer: %w", unexpected(err))
		}
		if line == "" {
			return io.EOF
		}
	}
	return errors.New("trailer fields do not end")
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
