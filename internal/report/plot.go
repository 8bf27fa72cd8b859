package report

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Plot is a picture of an experiment's figures: a bar for each arm, of parts that add up, the arms as points of a curve, or distributions.
type Plot struct {
	Title string   // what the values are, with their unit
	Parts []string // what a bar is made of; empty: one part without a name
	Bars  []Bar
	// Across is what a curve's points have on the horizontal axis; empty: the plot has bars.
	Across string
	// Lines are distributions, instead of bars.
	Lines []Line
}

// Bar is one arm.
type Bar struct {
	Label  string
	Values []float64 // by Plot.Parts; a point has one
	X      float64   // of a point
}

// The picture's measures, in its own units: narrow enough for a phone, and scaled up elsewhere.
const (
	plotWidth   = 400
	barHeight   = 14
	barPitch    = 36
	valueRoom   = 60 // right of the longest bar
	curveHeight = 240
	margin      = 44
	labelHeight = 11 // of a curve's points
)

func (b *Bar) total() (sum float64) {
	for _, v := range b.Values {
		sum += max(v, 0) // what a subtraction has left below nothing has no length
	}
	return sum
}

// number shows a value with as many digits as tell something.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 2, 64)
	if s == "-0.00" {
		return "0.00"
	}
	return s
}

// SVG draws it. Each drawn value is in an attribute, whole, for whoever compares the page with the report.
func (p *Plot) SVG() string {
	switch {
	case p.Across != "":
		return p.curve()
	case p.Lines != nil:
		return p.distribution()
	}
	var b strings.Builder
	longest := 0.0
	for i := range p.Bars {
		longest = max(longest, p.Bars[i].total())
	}
	legend := 0
	if len(p.Parts) > 1 {
		legend = 22
	}
	open(&b, p.Title, legend+barPitch*len(p.Bars)+4)
	for i, name := range p.Parts {
		if legend > 0 {
			x := i * plotWidth / len(p.Parts)
			fmt.Fprintf(&b, `<rect class="part%d" x="%d" y="2" width="10" height="10"/><text x="%d" y="11">%s</text>`, i%6, x, x+14, html.EscapeString(name))
		}
	}
	for i := range p.Bars {
		bar := &p.Bars[i]
		y := legend + barPitch*i
		fmt.Fprintf(&b, `<text x="0" y="%d">%s</text>`, y+12, html.EscapeString(bar.Label))
		x := 0.0
		for n, v := range bar.Values {
			width := 0.0
			if longest > 0 {
				width = max(v, 0) / longest * (plotWidth - valueRoom)
			}
			fmt.Fprintf(&b, `<rect class="part%d" x="%.1f" y="%d" width="%.1f" height="%d" data-value="%s"><title>%s</title></rect>`,
				n%6, x, y+16, width, barHeight, strconv.FormatFloat(v, 'g', -1, 64), html.EscapeString(p.part(n)+number(v)))
			x += width
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`, x+4, y+16+barHeight-3, number(bar.total()))
	}
	b.WriteString("</svg>")
	return b.String()
}

func (p *Plot) part(n int) string {
	if n < len(p.Parts) {
		return p.Parts[n] + ": "
	}
	return ""
}

func open(b *strings.Builder, title string, height int) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, plotWidth, height, html.EscapeString(title))
}

// curve draws the points in the order of their X.
func (p *Plot) curve() string {
	var b strings.Builder
	open(&b, p.Title, curveHeight)
	right, top := 0.0, 0.0
	for i := range p.Bars {
		right, top = max(right, p.Bars[i].X), max(top, p.Bars[i].total())
	}
	if right == 0 {
		right = 1
	}
	if top == 0 {
		top = 1
	}
	at := func(bar *Bar) (x, y float64) {
		return margin + bar.X/right*(plotWidth-2*margin), curveHeight - margin - bar.total()/top*(curveHeight-2*margin)
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%d %d V%d H%d"/>`, margin, margin/2, curveHeight-margin, plotWidth-margin/2)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><text x="%d" y="%d" text-anchor="end">0</text>`, margin-4, margin+4, number(top), margin-4, curveHeight-margin)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text><text x="%d" y="%d" text-anchor="end">%s</text>`,
		plotWidth-margin, curveHeight-margin+14, number(right), plotWidth-margin/2, curveHeight-6, html.EscapeString(p.Across))
	var line []string
	for i := range p.Bars {
		x, y := at(&p.Bars[i])
		line = append(line, fmt.Sprintf("%.1f,%.1f", x, y))
	}
	fmt.Fprintf(&b, `<polyline class="line" points="%s"/>`, strings.Join(line, " "))
	var lines []float64 // of the labels so far
	for i := range p.Bars {
		bar := &p.Bars[i]
		x, y := at(bar)
		// On the right a label ends at its point, or it would leave the picture. One that would lie on another goes below it.
		across, anchor, line := x+6, "start", y-6
		if x > plotWidth/2 {
			across, anchor = x-6, "end"
		}
		for slices.ContainsFunc(lines, func(other float64) bool { return math.Abs(other-line) < labelHeight }) {
			line += labelHeight
		}
		lines = append(lines, line)
		fmt.Fprintf(&b, `<circle class="part0" cx="%.1f" cy="%.1f" r="4" data-value="%s" data-x="%s"/><text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`,
			x, y, strconv.FormatFloat(bar.Values[0], 'g', -1, 64), strconv.FormatFloat(bar.X, 'g', -1, 64), across, line, anchor, html.EscapeString(bar.Label))
	}
	b.WriteString("</svg>")
	return b.String()
}
