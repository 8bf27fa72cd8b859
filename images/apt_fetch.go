package images

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// update fetches the lists of packages. apt-get ends well even when some or all
// of them could not be fetched: failure is then its last word about it, for
// the error of whoever misses a package later.
func (a *apt) update(ctx context.Context) (failure string, err error) {
	t := begin(a.progress, "downloading the lists of packages", 0)
	defer t.done()
	stderr, err := a.fetch(ctx, t, a.dir, "update")
	if ctx.Err() != nil {
		return "", fmt.Errorf("apt-get update: %w", ctx.Err())
	}
	if failure = lastComplaint(stderr); failure == "" && err != nil {
		failure = "apt-get update: " + err.Error()
	}
	return failure, nil
}

// download fetches the package p, verified, into the folder dir.
func (a *apt) download(ctx context.Context, dir string, p stanza) error {
	name := p["Package"]
	size, _ := strconv.ParseInt(p["Size"], 10, 64)
	t := begin(a.progress, "downloading "+name+" "+p["Version"], size)
	defer t.done()
	if stderr, err := a.fetch(ctx, t, dir, "download", name+"="+p["Version"]); err != nil || ctx.Err() != nil {
		return failure(ctx, "download "+name, stderr, err)
	}
	return nil
}

// failure explains why apt-get has failed.
func failure(ctx context.Context, what, stderr string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	if complaint := lastComplaint(stderr); complaint != "" {
		return fmt.Errorf("%s: apt: %s", what, complaint)
	}
	return fmt.Errorf("%s: apt-get: %w", what, err)
}

// fetch runs apt-get in the folder dir and follows what it says on its status
// descriptor. It returns what apt-get wrote to stderr.
func (a *apt) fetch(ctx context.Context, t *task, dir string, args ...string) (stderr string, err error) {
	status, writer, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer status.Close()
	// The first of ExtraFiles is the program's descriptor 3.
	cmd := a.command(ctx, "apt-get", append([]string{"-o", "APT::Status-Fd=3"}, args...)...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	cmd.ExtraFiles = []*os.File{writer}
	cmd.Dir = dir
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(status)
	for lines.Scan() {
		if percent, ok := parseDownloadStatus(lines.Text()); ok {
			t.at(percent)
		}
	}
	// A line that is too long ends the scan; apt-get must not block on it.
	io.Copy(io.Discard, status)
	err = cmd.Wait()
	return messages.String(), err
}

// parseDownloadStatus reads "dlstatus:ITEM:PERCENT:TEXT", one of the lines of
// APT::Status-Fd (README.progress-reporting in apt's documentation).
func parseDownloadStatus(line string) (percent float64, ok bool) {
	fields := strings.SplitN(line, ":", 4)
	if len(fields) < 4 || fields[0] != "dlstatus" {
		return 0, false
	}
	percent, err := strconv.ParseFloat(fields[2], 64)
	return percent, err == nil
}
