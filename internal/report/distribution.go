package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Line is a distribution: what part of all values is how large.
type Line struct {
	Label  string
	Points []Point // in the order of X
}

// Point says that X per cent of the values are Y or less.
type Point struct{ X, Y float64 }

const (
	distributionLegend = 22
	// nines is how far to the right a percentile can be: 99.999.
	nines = 5
)

// tail is a percentile's place: the number of nines in it, so that 0 is 0, 90 is 1 and 99.9 is 3.
func tail(percentile float64) float64 {
	return min(-math.Log10(max(1-percentile/100, 1e-9)), nines)
}

// distribution draws the plot's lines: percentiles by their tail, values logarithmically. Each point is in attributes, whole.
func (p *Plot) distribution() string {
	var b strings.Builder
	open(&b, p.Title, curveHeight+distributionLegend)
	low, high, right := math.Inf(1), 0.0, 1.0
	for _, l := range p.Lines {
		for _, pt := range l.Points {
			low, high = min(low, max(pt.Y, 1)), max(high, pt.Y)
			if pt.X < 100 {
				right = max(right, math.Ceil(tail(pt.X)))
			}
		}
	}
	bottom, top := math.Floor(math.Log10(min(low, max(high, 1)))), math.Ceil(math.Log10(max(high, 1)))
	if top <= bottom {
		top = bottom + 1
	}
	const foot = curveHeight + distributionLegend - margin
	across := func(percentile float64) float64 {
		return margin + min(tail(percentile), right)/right*(plotWidth-2*margin)
	}
	up := func(v float64) float64 {
		return foot - (math.Log10(max(v, 1))-bottom)/(top-bottom)*(curveHeight-2*margin)
	}
	for i, l := range p.Lines {
		x := i * plotWidth / len(p.Lines)
		fmt.Fprintf(&b, `<rect class="part%d" x="%d" y="2" width="10" height="10"/><text x="%d" y="11">%s</text>`, i%6, x, x+14, html.EscapeString(l.Label))
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%d %d V%d H%d"/>`, margin, margin/2+distributionLegend, foot, plotWidth-margin/2)
	for d := bottom; d <= top; d++ {
		v := math.Pow(10, d)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, margin-4, up(v)+4, power(v))
	}
	for n := 0.0; n <= right; n++ {
		percentile := 100 * (1 - math.Pow(10, -n))
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, across(percentile), foot+14, strconv.FormatFloat(percentile, 'g', 6, 64))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">percentile</text>`, plotWidth-margin/2, foot+margin-6)
	for i, l := range p.Lines {
		var line []string
		for _, pt := range l.Points {
			line = append(line, fmt.Sprintf("%.1f,%.1f", across(pt.X), up(pt.Y)))
		}
		fmt.Fprintf(&b, `<polyline class="line line%d" points="%s"/>`, i%6, strings.Join(line, " "))
		for _, pt := range l.Points {
			fmt.Fprintf(&b, `<circle class="part%d" cx="%.1f" cy="%.1f" r="1.5" data-value="%s" data-x="%s"/>`, i%6, across(pt.X), up(pt.Y),
				strconv.FormatFloat(pt.Y, 'g', -1, 64), strconv.FormatFloat(pt.X, 'g', -1, 64))
		}
	}
	b.WriteString("</svg>")
	return b.String()
}

// power shows a power of ten: 1, 100, 10k, 1M.
func power(v float64) string {
	switch {
	case v >= 1e9:
		return number(v/1e9) + "G"
	case v >= 1e6:
		return number(v/1e6) + "M"
	case v >= 1e3:
		return number(v/1e3) + "k"
	}
	return number(v)
}
