package guest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestFetch(t *testing.T) {
	content := strings.Repeat("all work and no play\n", 5000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader(content))
		case "/chunked":
			for part := range strings.Lines(content) {
				w.Write([]byte(part))
			}
		case "/short":
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("x"))
		case "/empty":
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	sum := sha256.Sum256([]byte(content))
	for _, path := range []string{"/length", "/chunked"} {
		r, err := Fetch(t.Context(), server.URL+path)
		if err != nil || r.Bytes != uint64(len(content)) || r.SHA256 != hex.EncodeToString(sum[:]) || r.Status != 200 || r.URL != server.URL+path || r.DurationNs <= 0 {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
	}
	if r, err := Fetch(t.Context(), server.URL+"/empty"); err != nil || r.Bytes != 0 {
		t.Errorf("empty: %+v, %v", r, err)
	}
	for path, want := range map[string]string{
		"/none":  `HTTP status "404 Not Found"`,
		"/short": "after 1 bytes: unexpected EOF",
	} {
		if _, err := Fetch(t.Context(), server.URL+path); err == nil || err.Error() != "fetch "+server.URL+path+": "+want {
			t.Errorf("%s: error %v, want %s", path, err, want)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Fetch(t.Context(), "http://"+l.Addr().String()+"/"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}

func TestSplitURL(t *testing.T) {
	for url, want := range map[string]string{
		"http://a.example":         "a.example:80 /",
		"http://a.example/x/y?z=1": "a.example:80 /x/y?z=1",
		"http://10.0.2.2:8000/":    "10.0.2.2:8000 /",
		"https://a.example/":       "",
		"http:///x":                "",
		"http://a:0/":              "",
		"http://a:b/":              "",
		"http://a:1:2/":            "",
		"http://u@a/":              "",
		"http://a/ x":              "",
		"http://a/x\r\nHost: evil": "",
		"ftp://a/":                 "",
		"":                         "",
	} {
		host, path, err := SplitURL(url)
		if got := strings.TrimSpace(host + " " + path); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", url, got, err)
		}
	}
}

func FuzzSplitURL(f *testing.F) {
	f.Add("http://a.example:8000/x")
	f.Fuzz(func(t *testing.T, url string) {
		host, path, err := SplitURL(url)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error has more than one line: %q", err)
			}
			return
		}
		if strings.ContainsAny(host+path, "\r\n ") || !strings.HasPrefix(path, "/") || !strings.Contains(host, ":") {
			t.Errorf("%q is %q and %q", url, host, path)
		}
	})
}

// A server may say anything.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\neverything",
		"HTTP/1.1 404 Not Found\r\n\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := readResponse(bufio.NewReaderSize(strings.NewReader(s), 4096))
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error has more than one line: %q", err)
			}
			return
		}
		if r.Bytes > uint64(len(s)) || r.Status/100 != 2 {
			t.Errorf("%d bytes and status %d of %q", r.Bytes, r.Status, s)
		}
	})
}
