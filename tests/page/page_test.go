//go:build browser

package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// look is what a browser sees.
type look struct {
	Figures []struct {
		Title         string
		Width, Height float64
		Marks         int // bars and points that have a place on the screen
		Values        []float64
		TextHeight    float64 // of the smallest text, in pixels of the screen
	}
	Sections []struct {
		section
		Hidden []string // what has no place on the screen
	}
	Page, Screen float64 // widths
	Back, Text   string  // colours
	JSON         string
}

const seeing = `(() => ({
	Figures: [...document.querySelectorAll("figure")].map(f => {
		const svg = f.querySelector("svg"), box = svg.getBoundingClientRect();
		const marks = [...svg.querySelectorAll("[data-value]")];
		return {
			Title: f.querySelector("figcaption").textContent, Width: box.width, Height: box.height,
			Marks: marks.filter(m => { const b = m.getBoundingClientRect(); return b.height > 0 && b.left >= box.left - 1 && b.right <= box.right + 1; }).length,
			Values: marks.map(m => Number(m.dataset.value)),
			TextHeight: Math.min(...[...svg.querySelectorAll("text")].map(t => t.getBoundingClientRect().height)),
		};
	}),
	Sections: [...document.querySelectorAll("section:not(#compared)")].map(s => {
		const text = e => e === null ? "" : e.textContent;
		return {
			Name: text(s.querySelector("h2")), Finding: text(s.querySelector(".finding")),
			Tables: [...s.querySelectorAll("table")].map(t => ({
				Title: text(t.caption), Columns: [...t.tHead.rows[0].cells].map(text), Rows: [...t.tBodies[0].rows].map(r => [...r.cells].map(text)),
			})),
			Hidden: [...s.querySelectorAll("h2, .finding, th, td")].filter(e => { const b = e.getBoundingClientRect(); return text(e) !== "" && (b.width === 0 || b.height === 0); }).map(text),
		};
	}),
	Page: document.documentElement.scrollWidth, Screen: document.documentElement.clientWidth,
	Back: getComputedStyle(document.body).backgroundColor, Text: getComputedStyle(document.body).color,
	JSON: document.getElementById("report").textContent,
}))()`

// TestPage: on a desk and on a phone, light and dark, every plot is drawn where it can be seen, nothing is wider than the screen, no script fails, nothing is
// fetched; and the page's numbers are the report's: those in plots, and each cell of each table. Every experiment's finding is there.
func TestPage(t *testing.T) {
	page, whole := os.Getenv("DOORBELL_PAGE"), os.Getenv("DOORBELL_PAGE_JSON")
	if page == "" || whole == "" {
		t.Fatal("set DOORBELL_PAGE and DOORBELL_PAGE_JSON to the page and the JSON of one run")
	}
	b, err := os.ReadFile(whole)
	var want map[string]any
	var ran struct {
		Experiments []experiment `json:"experiments"`
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(b, &want), json.Unmarshal(b, &ran))
	}
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[float64]bool{}
	collect(want, numbers)

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var complaints []string
	err = chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			complaints = append(complaints, fmt.Sprintf("console: %v", e.Args))
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, "file://"+page) {
				complaints = append(complaints, "asks for "+e.Request.URL)
			}
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	}
	if err != nil {
		t.Fatal(err)
	}
	colours := map[string]bool{}
	for _, screen := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"desk", 1280, 800, "light"}, {"desk, dark", 1280, 800, "dark"}, {"phone", 360, 640, "light"}} {
		scheme := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: screen.scheme}}}
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, scheme)
		if err == nil {
			err = chromedp.Do(ctx, chromedp.EmulateViewport(screen.width, screen.height), chromedp.Navigate("file://"+page))
		}
		var l look
		if err == nil {
			l, err = chromedp.Run(ctx, chromedp.Evaluate[look](seeing))
		}
		if err != nil {
			t.Fatalf("%s: %v", screen.name, err)
		}
		if len(l.Figures) == 0 {
			t.Errorf("%s: no plot", screen.name)
		}
		for _, f := range l.Figures {
			if f.Width < 250 || f.Height < 20 || f.Marks == 0 || f.Marks != len(f.Values) {
				t.Errorf("%s: plot %q has %.0f x %.0f pixels and shows %d of %d values", screen.name, f.Title, f.Width, f.Height, f.Marks, len(f.Values))
			}
			if f.TextHeight < 8 {
				t.Errorf("%s: plot %q has text of %.1f pixels", screen.name, f.Title, f.TextHeight)
			}
			for _, v := range f.Values {
				if !numbers[v] {
					t.Errorf("%s: plot %q shows %v, which the report does not have", screen.name, f.Title, v)
				}
			}
		}
		if len(l.Sections) != len(ran.Experiments) || len(l.Sections) == 0 {
			t.Fatalf("%s: %d experiments of %d", screen.name, len(l.Sections), len(ran.Experiments))
		}
		for i, s := range l.Sections {
			for _, w := range ran.Experiments[i].wrong(&s.section) {
				t.Errorf("%s: %s", screen.name, w)
			}
			if len(s.Hidden) > 0 {
				t.Errorf("%s: %s hides %q", screen.name, s.Name, s.Hidden)
			}
		}
		if l.Page > l.Screen {
			t.Errorf("%s: the page has %.0f pixels, the screen %.0f", screen.name, l.Page, l.Screen)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(l.JSON), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the report in the page is not that of the file: %v", screen.name, err)
		}
		if l.Back == l.Text {
			t.Errorf("%s: text and background are %s", screen.name, l.Back)
		}
		colours[l.Back] = true
	}
	if len(colours) != 2 {
		t.Errorf("light and dark have the backgrounds %v", colours)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, c := range complaints {
		t.Error(c)
	}
}

// collect finds the numbers of a JSON document.
func collect(v any, into map[float64]bool) {
	switch v := v.(type) {
	case float64:
		into[v] = true
	case []any:
		for _, e := range v {
			collect(e, into)
		}
	case map[string]any:
		for _, e := range v {
			collect(e, into)
		}
	}
}
