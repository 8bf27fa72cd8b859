package report

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestDistribution: each line and each of its points is in the picture, within it, and whole; also where there is one value, or none.
func TestDistribution(t *testing.T) {
	for name, lines := range map[string][]Line{
		"two":       {{"running", []Point{{0, 500}, {50, 700}, {99, 9000}, {100, 1e6}}}, {"<halted>", []Point{{0, 30_000}, {100, 30_000}}}},
		"one value": {{"running", []Point{{100, 1}}}}, "no points": {{Label: "running"}}, "nothing": {}, "none took any time": {{"running", []Point{{0, 0}, {100, 0}}}},
	} {
		p := &Plot{Title: name, Lines: lines}
		root, err := html.Parse(strings.NewReader(p.SVG()))
		if err != nil {
			t.Fatal(err)
		}
		points := 0
		for _, l := range lines {
			points += len(l.Points)
		}
		if circles, drawn := len(nodes(root, "circle")), len(nodes(root, "polyline")); circles != points || drawn != len(lines) {
			t.Errorf("%s: %d points of %d, %d lines of %d", name, circles, points, drawn, len(lines))
		}
		for _, l := range lines {
			if !strings.Contains(words(root), l.Label) {
				t.Errorf("%s: no label %q", name, l.Label)
			}
		}
		for _, c := range nodes(root, "circle") {
			for key, most := range map[string]float64{"cx": plotWidth, "cy": curveHeight + distributionLegend} {
				v, _ := attribute(c, key)
				if x := mustFloat(t, v); !(x >= 0 && x <= most) {
					t.Errorf("%s: a point with %s %s", name, key, v)
				}
			}
		}
	}
	svg := (&Plot{Lines: []Line{{"x", []Point{{99.9, 1234.5}}}}}).SVG()
	if !strings.Contains(svg, `data-value="1234.5" data-x="99.9"`) {
		t.Error(svg)
	}
}

// TestTail: each nine is as far as the one before.
func TestTail(t *testing.T) {
	for percentile, want := range map[float64]float64{0: 0, 90: 1, 99: 2, 99.9: 3, 100: nines} {
		if got := tail(percentile); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%v is at %v, want %v", percentile, got, want)
		}
	}
}

func mustFloat(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
