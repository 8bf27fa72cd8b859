package deb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The common ar format, as in deb(5): a global header, then for each member a
// header of 60 bytes and its content, padded to an even offset.
const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	arNameEnd    = 16
	arSizeStart  = 48
	arSizeEnd    = 58
	arTerminator = "`\n"
)

// arReader iterates over the members of an ar archive.
type arReader struct {
	r      io.Reader
	offset int64
	member io.LimitedReader
	pad    bool
}

func newArReader(r io.Reader) (*arReader, error) {
	ar := &arReader{r: r}
	var magic [len(arMagic)]byte
	n, err := io.ReadFull(r, magic[:])
	ar.offset = int64(n)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if string(magic[:]) != arMagic {
		return nil, errors.New("not a Debian package: no ar header")
	}
	return ar, nil
}

// next goes to the next member; its content is read from ar.member. It returns
// io.EOF after the last one.
func (ar *arReader) next() (name string, size int64, err error) {
	skipped, err := io.Copy(io.Discard, &ar.member)
	ar.offset += skipped
	if err != nil {
		return "", 0, err
	}
	if ar.member.N > 0 {
		return "", 0, fmt.Errorf("truncated at offset %#x: %w", ar.offset, io.ErrUnexpectedEOF)
	}
	var header [arHeaderSize + 1]byte
	h := header[1:]
	if ar.pad {
		h = header[:]
	}
	n, err := io.ReadFull(ar.r, h)
	if errors.Is(err, io.EOF) || ar.pad && n == 1 {
		return "", 0, io.EOF
	}
	at := ar.offset
	ar.offset += int64(n)
	if err != nil {
		return "", 0, fmt.Errorf("truncated at offset %#x: %w", ar.offset, err)
	}
	h = header[1:]
	if !bytes.HasSuffix(h, []byte(arTerminator)) {
		return "", 0, fmt.Errorf("bad ar member header at offset %#x", at)
	}
	name = strings.TrimSuffix(strings.TrimRight(string(h[:arNameEnd]), " "), "/")
	size, err = strconv.ParseInt(strings.TrimRight(string(h[arSizeStart:arSizeEnd]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("bad ar member size at offset %#x", at)
	}
	ar.pad = size%2 != 0
	ar.member = io.LimitedReader{R: ar.r, N: size}
	return name, size, nil
}
