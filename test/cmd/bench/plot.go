package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// plot shows, for several rows of times, the share that was done after a time. The axis of time is logarithmic.
type plot struct {
	title, subtitle string
	lines           []line
	marks           []mark
}

// line is one row of times, in milliseconds.
type line struct {
	name   string
	values []float64
	colour string
	dashed bool
}

// mark is a time that is of interest.
type mark struct {
	name string
	at   float64
}

// Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
const (
	blue   = "#0072B2"
	orange = "#D55E00"
	green  = "#009E73"
	purple = "#CC79A7"
)

func (r results) latency() plot {
	p := plot{title: "Accepted change to kernel, and to Configured", subtitle: fmt.Sprintf("share of %d changes of an address done after a time", r.Changes),
		marks: []mark{{"aim for kernel, p50", aimKernel}, {"aim for Configured, p50", aimConfigured}, {"aim for Configured, p99", aimConfigured99}}}
	for _, dad := range []struct {
		name   string
		colour string
	}{{"off", blue}, {"fast", orange}} {
		c := r.of(dad.name, kindAddress).Changes
		p.lines = append(p.lines, line{"kernel, dad = " + dad.name, of(c, kernel), dad.colour, false},
			line{"Configured, dad = " + dad.name, of(c, configured), dad.colour, true})
	}
	return p
}

func (r results) comparison() plot {
	p := plot{title: "The same change of an address, by method", subtitle: "share of changes in the kernel after a time: from the API server's answer, or from the start of the command",
		lines: []line{{"multinicd, dad = off", of(r.of("off", kindAddress).Changes, kernel), blue, false}}}
	for i, m := range r.Methods {
		p.lines = append(p.lines, line{m.Name, m.Kernel, []string{blue, green, orange, purple}[i%4], i == 0})
	}
	return p
}

// Sizes in pixels.
const (
	plotWidth, plotHeight = 760, 380
	left, right, top      = 50, 20, 60
	bottom                = 90
)

// svg draws it. It stands for itself: no script, no font, no other file; its ground is white, so that it reads on dark pages.
func (p plot) svg() string {
	least, most := p.span()
	x := func(v float64) float64 {
		return left + (plotWidth-left-right)*(math.Log10(max(v, least))-math.Log10(least))/(math.Log10(most)-math.Log10(least))
	}
	y := func(share float64) float64 { return top + (plotHeight-top-bottom)*(1-share) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12" role="img">`+"\n", plotWidth, plotHeight, plotWidth, plotHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", html.EscapeString(p.title))
	label := func(x, y float64, anchor, text, more string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, html.EscapeString(text))
	}
	rule := func(x1, y1, x2, y2 float64, style string) {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	label(left, 22, "start", p.title, ` font-size="16" font-weight="bold"`)
	label(left, 40, "start", p.subtitle, ` fill="#444"`)
	for share := 0.0; share <= 1; share += 0.25 {
		rule(left, y(share), plotWidth-right, y(share), `stroke="#ddd"`)
		label(left-6, y(share)+4, "end", fmt.Sprintf("%.0f %%", share*100), "")
	}
	for tick := least; tick <= most*1.001; tick *= 10 {
		for _, t := range []float64{tick, 2 * tick, 5 * tick} {
			if t <= most*1.001 {
				rule(x(t), top, x(t), y(0)+4, `stroke="#eee"`)
				label(x(t), y(0)+18, "middle", number(t), "")
			}
		}
	}
	label(plotWidth-right, y(0)+34, "end", "ms", "")
	for i, m := range p.marks {
		rule(x(m.at), top, x(m.at), y(0), `stroke="#888" stroke-dasharray="2 3"`)
		label(x(m.at)-4, top+12+float64(i)*14, "end", m.name, ` fill="#666" font-size="11"`)
	}
	for i, l := range p.lines {
		p.draw(&b, l, x, y, most)
		at := float64(left + (i%2)*340)
		row := y(0) + 50 + float64(i/2)*18
		rule(at, row-4, at+26, row-4, l.style())
		label(at+32, row, "start", fmt.Sprintf("%s: p50 %s, max %s ms", l.name, number(quantile(l.values, 50)), number(quantile(l.values, 100))), "")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p plot) draw(b *strings.Builder, l line, x, y func(float64) float64, most float64) {
	if len(l.values) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(l.values))
	fmt.Fprintf(b, `<path fill="none" %s d="M%.1f %.1f`, l.style(), x(sorted[0]), y(0))
	for i, v := range sorted {
		fmt.Fprintf(b, " H%.1f V%.1f", x(v), y(float64(i+1)/float64(len(sorted))))
	}
	fmt.Fprintf(b, ` H%.1f"/>`+"\n", x(most))
}

func (l line) style() string {
	style := fmt.Sprintf(`stroke="%s" stroke-width="2"`, l.colour)
	if l.dashed {
		style += ` stroke-dasharray="6 3"`
	}
	return style
}

// span is a range of whole powers of ten, halved at its end where that suffices, that holds all values and marks.
func (p plot) span() (least, most float64) {
	var all []float64
	for _, l := range p.lines {
		all = append(all, l.values...)
	}
	for _, m := range p.marks {
		all = append(all, m.at)
	}
	if len(all) == 0 {
		return 1, 1000
	}
	least = math.Pow(10, math.Floor(math.Log10(max(slices.Min(all), 1))))
	most = math.Pow(10, math.Ceil(math.Log10(max(slices.Max(all), 10*least))))
	for _, part := range []float64{5, 2} {
		if slices.Max(all) <= most/part {
			most /= part
			break
		}
	}
	return least, most
}
