package ledger

import "testing"

func TestCost(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for name, c := range map[string]struct {
		row  VectorRow
		want float64 // below 0: unknown
	}{
		"a kick and an EOI":    {VectorRow{Delivered: n(100), EOIs: n(100), EOIsWithoutExit: n(0)}, 2},
		"EOIs without an exit": {VectorRow{Delivered: n(100), EOIs: n(100), EOIsWithoutExit: n(50)}, 1.5},
		"posted":               {VectorRow{Delivered: n(0), EOIs: n(0), Posted: n(100)}, 0},
		"posted in part":       {VectorRow{Delivered: n(50), EOIs: n(50), Posted: n(150)}, 0.5},
		"never":                {VectorRow{Delivered: n(0), EOIs: n(0)}, -1},
		"not watched":          {VectorRow{}, -1},
	} {
		c.row.Cost()
		switch got := c.row.ExitsPerIRQ; {
		case c.want < 0 && got != nil, c.want >= 0 && (got == nil || *got != c.want):
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
