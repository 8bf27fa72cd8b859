package report

import (
	"cmp"
	"encoding/json"
	"slices"
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

// TestAccountTables: a boot's exits and phases are tables of the page; a terminal shows them once, with the rest of the account.
func TestAccountTables(t *testing.T) {
	for _, emulated := range []bool{false, true} {
		d := sample()
		d.Environment.Emulated = emulated
		d.VM.Phases = []vmm.Phase{{Name: "memory", AtS: 0.25}, {Name: "guest: \x1buserspace", AtS: 1.5, Exits: []uint64{19, 4}}}
		d.Experiments = []Experiment{{Name: "boot", Finding: "f", Account: AccountTables(d.VM, emulated)}}
		var page, text strings.Builder
		if err := d.HTML(&page); err != nil {
			t.Fatal(err)
		}
		root, err := html.Parse(strings.NewReader(page.String()))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, n := range nodes(root, "section") {
			for _, r := range append(nodes(n, "caption"), nodes(n, "tr")...) {
				var cells []string
				for c := range r.ChildNodes() {
					if c.Type == html.ElementNode {
						cells = append(cells, words(c))
					}
				}
				lines = append(lines, cmp.Or(strings.Join(cells, "|"), words(r)))
			}
		}
		want := []string{
			"VM exits by reason and vCPU", "VM exits that reached doorbell, by device", "Phases, with the exits so far",
			"reason|vCPU0|vCPU1|total|source", "io|20|0|20|kvm_exit tracepoint", "other|0|10|10|rest", "all|20|10|30|KVM statistics: exits",
			"device|register|direction|bytes|exits", "com1|THR|write|1|20",
			"phase|at, s|exits", "memory|0.250|-", "guest: ?userspace|1.500|23",
		}
		if emulated {
			want[2] += "; the clock is emulated, so there are no times"
			want[10], want[11] = "memory|-|-", "guest: ?userspace|-|23"
		}
		if !slices.Equal(lines, want) {
			t.Errorf("emulated %v: the page has\n%s\nwant\n%s", emulated, strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
		d.Text(&text)
		for _, once := range []string{"vCPU0  vCPU1  total  source\n", "io     20      0     20  kvm_exit tracepoint\n", "THR", "23 exits"} {
			if n := strings.Count(text.String(), once); n != 1 {
				t.Errorf("emulated %v: a terminal shows %q %d times:\n%s", emulated, once, n, text.String())
			}
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
