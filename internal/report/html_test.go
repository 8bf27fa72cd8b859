package report

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"doorbell/internal/probe"
	"doorbell/vmm"

	"golang.org/x/net/html"
)

// nodes are the elements of a page with a name.
func nodes(root *html.Node, name string) (found []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// hostile is a text that would do harm if it were not escaped.
const hostile = `</script><script>alert(1)</script>"'&<b onclick=x>`

func pageDocument() *Document {
	return &Document{
		Environment: probe.Environment{Backend: "kvm-intel", CPU: hostile, CPUs: 2, Kernel: "6.1", Emulated: true, EmulatedWhy: "it says so"},
		VM:          &vmm.Account{IRQChip: "kernel"},
		Experiments: []Experiment{
			{
				Name: "paths", Finding: hostile, Rows: []map[string]any{{"a": 0.123456789}, {"a": 1.5, "b": 2.25}}, Missing: map[string]string{"this": hostile},
				Parameters: map[string]any{"seed": uint64(7)}, Literature: hostile,
				Table: &Table{Columns: []string{"arm", hostile}, Rows: [][]string{{hostile, "1.50"}}},
				Plots: []*Plot{{Title: hostile, Parts: []string{hostile, "end"}, Bars: []Bar{{Label: hostile, Values: []float64{1.5, 2.25}}, {Label: "x", Values: []float64{-0.123456789, 0}}}}},
			},
			{
				Name: "coalesce", Finding: "f", Rows: []map[string]any{{"x": 2.5, "y": 5.5}, {"x": 16.0, "y": 1.5}},
				Plots: []*Plot{
					{Title: "exits", Across: "packets", Bars: []Bar{{Label: "none", X: 2.5, Values: []float64{5.5}}, {Label: "16", X: 16, Values: []float64{1.5}}}},
					{Title: "nothing"}, {Title: "nothing", Across: "x"},
				},
			},
		},
	}
}

// TestPage: the page needs nothing from outside and runs nothing; what a guest or a host is called cannot change that; every plot is drawn, and its
// numbers, whole, are the report's, which is in the page, too.
func TestPage(t *testing.T) {
	d := pageDocument()
	var b strings.Builder
	if err := d.HTML(&b); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	scripts := nodes(root, "script")
	if len(scripts) != 1 {
		t.Fatalf("%d scripts", len(scripts))
	}
	if kind, _ := attribute(scripts[0], "type"); kind != "application/json" {
		t.Errorf("a script of type %q", kind)
	}
	var got, want any
	whole, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(words(scripts[0])), &got); err != nil {
		t.Fatalf("the report in the page: %v", err)
	}
	if err := json.Unmarshal(whole, &want); err != nil {
		t.Fatal(err)
	}
	if a, b := string(mustJSON(t, got)), string(mustJSON(t, want)); a != b {
		t.Errorf("the report in the page is\n%s\nwant\n%s", a, b)
	}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" || a.Key == "xlink:href" {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	if strings.Contains(b.String(), "http:") || strings.Contains(b.String(), "https:") || strings.Contains(b.String(), "@import") || strings.Contains(b.String(), "url(") {
		t.Error("the page asks for something from outside")
	}

	plots := 0
	for _, e := range d.Experiments {
		plots += len(e.Plots)
	}
	figures := nodes(root, "figure")
	if len(figures) != plots {
		t.Errorf("%d figures of %d plots", len(figures), plots)
	}
	var drawn []float64
	for _, f := range figures {
		if n := len(nodes(f, "svg")); n != 1 {
			t.Errorf("%q has %d pictures", words(f), n)
		}
		for n := range f.Descendants() {
			if v, ok := attribute(n, "data-value"); ok {
				x, err := strconv.ParseFloat(v, 64)
				if err != nil {
					t.Error(err)
				}
				drawn = append(drawn, x)
			}
		}
	}
	wantDrawn := []float64{1.5, 2.25, -0.123456789, 0, 5.5, 1.5}
	if len(drawn) != len(wantDrawn) {
		t.Fatalf("drawn %v, want %v", drawn, wantDrawn)
	}
	for i := range drawn {
		if drawn[i] != wantDrawn[i] {
			t.Errorf("drawn %v, want %v", drawn[i], wantDrawn[i])
		}
	}
	for _, n := range nodes(root, "rect") {
		if w, _ := attribute(n, "width"); strings.HasPrefix(w, "-") || w == "NaN" {
			t.Errorf("a bar of width %s", w)
		}
	}
	for _, want := range []string{"kvm-intel", "no: it says so", "seed 7", "this: " + hostile, "The literature: " + hostile} {
		if !strings.Contains(words(root), want) {
			t.Errorf("no %q in the page", want)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
