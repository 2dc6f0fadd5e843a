package measure

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Plot is lines over two axes, as a file that stands for itself.
type Plot struct {
	Title, Subtitle string
	X, Y            Axis
	Lines           []Line
	Marks           []Mark
}

// Axis reaches as far as its values, unless it says how far; a logarithmic one from 1, 2 or 5 to a power of ten.
type Axis struct {
	Name        string
	Log         bool
	Unit        string   // behind each number
	Labels      []string // of 0, 1, 2, ..., in the place of numbers
	Least, Most float64  // both 0: as the values are
}

// Line is a row of points.
type Line struct {
	Name   string
	X, Y   []float64
	Colour string
	Dashed bool
	Steps  bool   // from point to point by a step, without marks at the points
	Note   string // behind the name, below the plot
}

// Mark is a value on the axis X that is of interest.
type Mark struct {
	Name string
	At   float64
}

// Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
var Colours = []string{Blue, Orange, Green, Purple, "#E69F00", "#56B4E9", "#000000"}

// Four of them by name.
const (
	Blue   = "#0072B2"
	Orange = "#D55E00"
	Green  = "#009E73"
	Purple = "#CC79A7"
)

// Shares is a plot of the share of values that lie below each: what was done after a time, in ms.
func Shares(title, subtitle string) Plot {
	return Plot{Title: title, Subtitle: subtitle, X: Axis{Log: true, Name: "ms"}, Y: Axis{Most: 100, Unit: " %"}}
}

// Share adds a line to such a plot.
func (p *Plot) Share(name string, values []float64, colour string, dashed bool) {
	l := Line{Name: name, Colour: colour, Dashed: dashed, Steps: true, Note: fmt.Sprintf("p50 %s, max %s ms", Number(Quantile(values, 50)), Number(Quantile(values, 100)))}
	for i, v := range slices.Sorted(slices.Values(values)) {
		l.X, l.Y = append(l.X, max(v, 1)), append(l.Y, float64(i+1)*100/float64(len(values)))
	}
	p.Lines = append(p.Lines, l)
}

// Sizes in pixels.
const (
	plotWidth, plotGround = 760, 230 // of all, and of what the axes enclose from top to bottom
	left, right, top      = 66, 20, 60
	legend, legendRow     = 52, 18
)

// SVG draws it. It stands for itself: no script, no font, no other file; its ground is white, so that it reads on dark pages.
func (p Plot) SVG() string {
	var xs, ys []float64
	for _, l := range p.Lines {
		xs, ys = append(xs, l.X...), append(ys, l.Y...)
	}
	for _, m := range p.Marks {
		xs = append(xs, m.At)
	}
	x, xTicks := p.X.scale(xs, left, plotWidth-right)
	y, yTicks := p.Y.scale(ys, top+plotGround, top)
	height := top + plotGround + legend + (len(p.Lines)+1)/2*legendRow
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12" role="img">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", html.EscapeString(p.Title))
	label := func(x, y float64, anchor, text, more string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, html.EscapeString(text))
	}
	rule := func(x1, y1, x2, y2 float64, style string) {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	const ground = top + plotGround
	label(20, 22, "start", p.Title, ` font-size="16" font-weight="bold"`)
	label(20, 40, "start", p.Subtitle, ` fill="#444"`)
	for _, t := range yTicks {
		rule(left, y(t), plotWidth-right, y(t), `stroke="#ddd"`)
		label(left-6, y(t)+4, "end", p.Y.label(t), "")
	}
	for _, t := range xTicks {
		rule(x(t), top, x(t), ground+4, `stroke="#eee"`)
		label(x(t), ground+18, "middle", p.X.label(t), "")
	}
	label(plotWidth-right, ground+34, "end", p.X.Name, "")
	label(left, top-6, "end", p.Y.Name, "")
	for i, m := range p.Marks {
		rule(x(m.At), top, x(m.At), ground, `stroke="#888" stroke-dasharray="2 3"`)
		label(x(m.At)-4, top+12+float64(i)*14, "end", m.Name, ` fill="#666" font-size="11"`)
	}
	for i, l := range p.Lines {
		l.draw(&b, x, y, ground)
		at, row := float64(20+(i%2)*365), float64(ground+legend+i/2*legendRow)
		rule(at, row-4, at+26, row-4, l.style())
		label(at+32, row, "start", strings.TrimSuffix(l.Name+": "+l.Note, ": "), ` font-size="11"`)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (l Line) draw(b *strings.Builder, x, y func(float64) float64, ground float64) {
	if len(l.X) == 0 {
		return
	}
	if l.Steps {
		fmt.Fprintf(b, `<path fill="none" %s d="M%.1f %.1f`, l.style(), x(l.X[0]), ground)
		for i := range l.X {
			fmt.Fprintf(b, " H%.1f V%.1f", x(l.X[i]), y(l.Y[i]))
		}
		fmt.Fprintf(b, " H%d\"/>\n", plotWidth-right)
		return
	}
	fmt.Fprintf(b, `<path fill="none" %s d="M`, l.style())
	for i := range l.X {
		fmt.Fprintf(b, " %.1f %.1f", x(l.X[i]), y(l.Y[i]))
	}
	b.WriteString("\"/>\n")
	for i := range l.X {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(l.X[i]), y(l.Y[i]), l.Colour)
	}
}

func (l Line) style() string {
	style := fmt.Sprintf(`stroke="%s" stroke-width="2"`, l.Colour)
	if l.Dashed {
		style += ` stroke-dasharray="6 3"`
	}
	return style
}

func (a Axis) label(v float64) string {
	if i := int(v); len(a.Labels) > 0 {
		return a.Labels[i]
	}
	return Number(v) + a.Unit
}

// scale gives where a value is drawn between two pixels, and the values that get a label.
func (a Axis) scale(values []float64, from, to float64) (at func(float64) float64, ticks []float64) {
	least, most := a.Least, a.Most
	switch {
	case len(a.Labels) > 0:
		for i := range a.Labels {
			ticks = append(ticks, float64(i))
		}
		least, most = -0.5, float64(len(a.Labels))-0.5
	case a.Log:
		least, most, ticks = logarithmic(values)
		least, most = math.Log10(least), math.Log10(most)
		return func(v float64) float64 {
			return from + (to-from)*(max(math.Log10(v), least)-least)/(most-least)
		}, ticks
	default:
		if least == 0 && most == 0 {
			most = 1
			if len(values) > 0 {
				most = max(1, slices.Max(values))
			}
		}
		for i := range 5 {
			ticks = append(ticks, least+(most-least)*float64(i)/4)
		}
	}
	return func(v float64) float64 { return from + (to-from)*(v-least)/(most-least) }, ticks
}

// logarithmic is a range of whole powers of ten, shorter at its ends where that suffices, that holds all values. Its ticks are 1, 2 and 5 of each power,
// or 1 alone where the range is long.
func logarithmic(values []float64) (least, most float64, ticks []float64) {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return !(v > 0) }) // also what is no number
	if len(values) == 0 {
		values = []float64{1, 1000}
	}
	low, high := slices.Min(values), slices.Max(values)
	steps := []float64{1, 2, 5}
	if high/low > 1e4 {
		steps = []float64{1}
	}
	var all []float64
	for power := math.Floor(math.Log10(low)); power <= math.Ceil(math.Log10(high))+1; power++ {
		for _, s := range steps {
			all = append(all, s*math.Pow(10, power))
		}
	}
	first, last := 0, len(all)-1
	for all[first+1] <= low*1.0001 {
		first++
	}
	for last-1 > first && all[last-1] >= high*0.9999 {
		last--
	}
	return all[first], all[last], all[first : last+1]
}
